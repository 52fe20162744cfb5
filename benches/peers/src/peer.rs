//! Another program that computes the same. One line asks, one answers:
//!
//! | line | answer |
//! |---|---|
//! | none, at the start | the adapter's name, a tab, what it is capable of |
//! | `prepare product FORMAT COPIES ROWS OUTPUTS INPUTS` | how it computes; from `x.f32` and `w.f32` in its folder it has made `y.f32` and `stored.f32` |
//! | `prepare experts FORMAT COPIES TOKENS WIDTH HIDDEN EXPERTS CHOICES` | the same, and from `router.f32` besides `routes.u32`; weights are all gates, all ups, all downs, each expert's by outputs |
//! | `prepare attention FORMAT COPIES SEQUENCES ROWS TOKENS HEADS KV_HEADS WIDTH WINDOW` | the same; of a prompt all tokens are rows, and each sees those up to its own, `WINDOW` of them or with 0 all; the one row of a step sees all tokens; weights are keys, then values, by tokens, and all sequences have the same, each for itself |
//! | `run TIMES` | nanoseconds |
//!
//! An answer that begins with `cannot` says why not. Both programs run at the same time and take turns.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::support::Result;

/// A program that waits for requests.
pub struct Peer {
    pub name: &'static str,
    /// Name of its adapter.
    pub adapter: String,
    /// What it says of itself.
    pub capabilities: String,
    /// Where it reads and writes numbers.
    pub folder: PathBuf,
    command: Command,
    patience: Duration,
    running: Running,
}

struct Running {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<String>,
}

impl Peer {
    /// Starts a program in a folder of its own, to be waited for as long as `patience` for each answer.
    pub fn start(
        name: &'static str,
        mut command: Command,
        folder: PathBuf,
        patience: Duration,
    ) -> Result<Self> {
        command.current_dir(&folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let running = Running::start(&mut command, &folder)?;
        let (adapter, capabilities) = (String::new(), String::new());
        let mut peer = Self { name, adapter, capabilities, folder, command, patience, running };
        let line = peer.answer()?;
        let (adapter, capabilities) = line.split_once('\t').ok_or("no adapter")?;
        (peer.adapter, peer.capabilities) = (adapter.into(), capabilities.into());
        Ok(peer)
    }

    /// Gets ready for a row; says how it is going to compute.
    pub fn prepare(&mut self, request: &str) -> Result<String> {
        self.ask(&format!("prepare {request}"))
    }

    /// Everything prepared, `times` times.
    pub fn run(&mut self, times: u64) -> Result<Duration> {
        Ok(Duration::from_nanos(self.ask(&format!("run {times}"))?.parse()?))
    }

    fn ask(&mut self, request: &str) -> Result<String> {
        writeln!(self.running.requests, "{request}")?;
        self.answer()
    }

    /// The next line. A program that has ended, or keeps us waiting for too long, is started again for the next row.
    fn answer(&mut self) -> Result<String> {
        let problem = match self.running.answers.recv_timeout(self.patience) {
            Ok(line) => {
                let refused = line.strip_prefix("cannot ").map(str::to_owned);
                return refused.map_or(Ok(line), |reason| Err(reason.into()));
            }
            Err(RecvTimeoutError::Timeout) => format!("no answer within {} s", self.patience.as_secs()),
            Err(RecvTimeoutError::Disconnected) => {
                format!("it ended; see {}", self.folder.join(LOG).display())
            }
        };
        self.running = Running::start(&mut self.command, &self.folder)?;
        // The line about its adapter.
        let _ = self.running.answers.recv_timeout(self.patience);
        Err(problem.into())
    }
}

/// burn tells of every kernel that it tries in vain.
const LOG: &str = "log.txt";

impl Running {
    fn start(command: &mut Command, folder: &Path) -> Result<Self> {
        let log = File::options().create(true).append(true).open(folder.join(LOG))?;
        let mut child = command.stderr(log).spawn()?;
        let requests = child.stdin.take().ok_or("no input")?;
        let lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let (sender, answers) = channel();
        // Ends with the program.
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Ok(Self { child, requests, answers })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing can be done about a program that has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
