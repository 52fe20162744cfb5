//! A small Debian with the newest Mesa, in a folder: its software Vulkan has f16, subgroups and cooperative
//! matrices, which the driver of a stable distribution often lacks.
//!
//! What a test needs is copied in rather than mounted. That works in containers which may not mount, and nothing
//! is ever left mounted in a folder that somebody will delete.

use std::{
    env, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use crate::{
    Result, apt,
    packages::{Manager, Privilege},
    shell,
};

/// The Debian release, and where it gets newer packages from.
const RELEASE: &str = "trixie";
const BACKPORTS: &str = "trixie-backports";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// In every root of ours, so that no other folder is ever taken for one and removed; says whether it is complete.
const MARK: &str = ".newest-mesa";
const COMPLETE: &str = "complete";
/// No step of the set-up takes longer than this unless the network hangs.
const PATIENCE: &str = "900";

/// A Debian root with the newest Mesa.
pub struct DebianRoot {
    dir: PathBuf,
}

impl DebianRoot {
    /// Opens the cached root, or makes one. It lies in `target/newest-mesa`, or where `WATTLE_MESA_ROOT` says;
    /// delete it to get a newer Mesa.
    ///
    /// # Errors
    /// Why there can be none on this machine. That is no failure of the crate.
    pub fn open() -> Result<Self> {
        possible()?;
        let dir = env::var_os("WATTLE_MESA_ROOT")
            .map_or_else(|| shell::target_dir().join("newest-mesa"), PathBuf::from);
        let failed = |error| format!("{}: {error}", dir.display());
        fs::create_dir_all(&dir).map_err(failed)?;
        let root = Self { dir: fs::canonicalize(&dir).map_err(failed)? };
        let start = Instant::now();
        if fs::read_to_string(root.dir.join(MARK)).is_ok_and(|text| text == COMPLETE) {
            println!("newest Mesa: using the Debian root made before, {}", root.dir.display());
        } else {
            root.make()?;
        }
        println!("newest Mesa: {} ({} s)", root.mesa_version()?, start.elapsed().as_secs());
        Ok(root)
    }

    /// Mesa's software Vulkan driver, as seen from inside.
    pub fn lavapipe(&self) -> Result<PathBuf> {
        let folder = Path::new("usr/share/vulkan/icd.d");
        let mut entries = fs::read_dir(self.dir.join(folder)).into_iter().flatten().flatten();
        let manifest = entries.find(|entry| entry.file_name().to_string_lossy().starts_with("lvp_icd"));
        let manifest = manifest.ok_or("the Debian root has no software Vulkan driver")?;
        Ok(Path::new("/").join(folder).join(manifest.file_name()))
    }

    /// Where a path of this machine lies when it is copied in.
    pub fn inside(&self, path: &Path) -> PathBuf {
        self.dir.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Removes what was copied to this path inside.
    pub fn forget(&self, path: &Path) -> Result<()> {
        remove(&self.inside(path))
    }

    /// Copies a file or a folder to the same path inside; of a folder neither what cargo builds nor what is hidden.
    pub fn bring(&self, path: &Path) -> Result<()> {
        let to = self.inside(path);
        let failed =
            |error: std::io::Error| format!("copying {} into the Debian root: {error}", path.display());
        if path.is_file() {
            fs::create_dir_all(to.parent().unwrap_or(&to)).map_err(failed)?;
            return fs::copy(path, to).map(drop).map_err(failed);
        }
        fs::create_dir_all(&to).map_err(failed)?;
        for entry in fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let is_left_out = entry.file_name().to_string_lossy().starts_with('.')
                || entry.path() == self.dir
                || entry.path().join("CACHEDIR.TAG").is_file();
            if !is_left_out && entry.path().exists() {
                self.bring(&entry.path())?;
            }
        }
        Ok(())
    }

    /// A program to be run inside, in this working folder.
    pub fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new("chroot");
        command.arg(&self.dir).args(["/usr/bin/env", "-C"]).arg(folder).arg(program);
        command
    }

    fn make(&self) -> Result<()> {
        if !shell::has("debootstrap") || !Path::new(KEYRING).is_file() {
            say("installing debootstrap and Debian's keys, to make a Debian root");
            let apt = Manager::here().filter(|manager| manager.program == "apt-get");
            let apt = apt.ok_or("there is neither debootstrap nor apt to install it")?;
            apt.install(&["debootstrap", "debian-archive-keyring"], Privilege::Root)?;
        }
        let settings = apt::reach();
        let mirror = self.bootstrap(&settings)?;
        self.install_mesa(&mirror, &settings)?;
        self.mark(COMPLETE)
    }

    fn mark(&self, state: &str) -> Result<()> {
        let write = || fs::create_dir_all(&self.dir).and_then(|()| fs::write(self.dir.join(MARK), state));
        write().map_err(|error| format!("{}: {error}", self.dir.display()))
    }

    /// Unpacks the base system from the first mirror that has it; returns that mirror.
    fn bootstrap(&self, settings: &str) -> Result<String> {
        let mut problem = String::new();
        for mirror in apt::mirrors() {
            say(&format!("making a Debian root ({RELEASE}) in {}", self.dir.display()));
            self.remove()?;
            self.mark("unfinished")?;
            match shell::run_quietly(&mut self.debootstrap(&mirror, settings)) {
                Ok(()) => return Ok(mirror),
                Err(error) => problem = error,
            }
        }
        // A half-made root is of no use to anybody.
        self.remove()?;
        Err(problem)
    }

    fn debootstrap(&self, mirror: &str, settings: &str) -> Command {
        let mut command = Command::new("timeout");
        command.args([PATIENCE, "debootstrap", "--variant=minbase"]);
        command.arg(format!("--keyring={KEYRING}")).arg(RELEASE).arg(&self.dir).arg(mirror);
        // An older debootstrap does not know the release, but all have been made like sid for long.
        let scripts = Path::new("/usr/share/debootstrap/scripts");
        if !scripts.join(RELEASE).exists() {
            command.arg(scripts.join("sid"));
        }
        if let (Some(proxy), None) = (apt::proxy(settings), env::var_os("http_proxy")) {
            command.env("http_proxy", proxy);
        }
        command
    }

    fn install_mesa(&self, mirror: &str, settings: &str) -> Result<()> {
        say("installing Mesa from backports");
        let apt = self.dir.join("etc/apt");
        let write = |file: &str, text: &str| {
            fs::write(apt.join(file), text).map_err(|error| format!("{}: {error}", apt.join(file).display()))
        };
        write("sources.list.d/backports.list", &format!("deb {mirror} {BACKPORTS} main\n"))?;
        write("apt.conf.d/90reach", settings)?;
        // A mirror or a proxy may show a certificate that only this machine has been told to trust.
        let certificates = Path::new("/etc/ssl/certs/ca-certificates.crt");
        if certificates.is_file() {
            self.bring(certificates)?;
        }
        let install = "apt-get -q update && apt-get -q install -y --no-install-recommends \
                       -t \"$0\" mesa-vulkan-drivers libvulkan1 && apt-get clean";
        let mut command = Command::new("timeout");
        command.arg(PATIENCE).arg("chroot").arg(&self.dir).args(["sh", "-c", install, BACKPORTS]);
        shell::run_quietly(command.env("DEBIAN_FRONTEND", "noninteractive"))
    }

    fn mesa_version(&self) -> Result<String> {
        let mut command = Command::new("chroot");
        command.arg(&self.dir).args(["dpkg-query", "-W", "mesa-vulkan-drivers"]);
        Ok(shell::output(&mut command)?.trim().replace('\t', " "))
    }

    /// Removes the root and nothing beyond: no folder that is not ours, and nothing while there are mounts in it, as
    /// debootstrap makes some while it works.
    fn remove(&self) -> Result<()> {
        let dir = self.dir.display();
        let is_empty = fs::read_dir(&self.dir).map_or(true, |mut entries| entries.next().is_none());
        if !is_empty && !self.dir.join(MARK).is_file() {
            return Err(format!("{dir} is neither empty nor a Debian root of ours; name another folder"));
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let below =
            |line: &&str| line.split(' ').nth(1).is_some_and(|point| Path::new(point).starts_with(&self.dir));
        match mounts.lines().find(below) {
            Some(line) => Err(format!("something is mounted in {dir}, unmount it first: {line}")),
            None => remove(&self.dir),
        }
    }
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(format!("{}: {error}", folder.display())),
        _ => Ok(()),
    }
}

fn possible() -> Result<()> {
    let architecture = env::consts::ARCH;
    if !cfg!(target_os = "linux") {
        Err("a Debian root needs Linux".into())
    } else if !["x86_64", "aarch64"].contains(&architecture) {
        Err(format!("a Debian root is made on x86-64 and arm64 only, this is {architecture}"))
    } else if !shell::is_root() {
        Err("a Debian root needs root".into())
    } else {
        Ok(())
    }
}

fn say(what: &str) {
    println!("newest Mesa: {what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_somebody_else_is_left_alone() {
        let dir = env::temp_dir().join(format!("wattle-xtask-root-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("thesis"), "").unwrap();
        let root = DebianRoot { dir };
        assert!(root.remove().unwrap_err().contains("neither empty nor"));
        assert!(root.dir.join("thesis").is_file());
        root.mark("unfinished").unwrap();
        root.remove().unwrap();
        assert!(!root.dir.exists());
    }

    #[test]
    fn what_is_built_or_hidden_stays_outside() {
        let base = env::temp_dir().join(format!("wattle-xtask-bring-{}", std::process::id()));
        for file in ["repo/tests/a.rs", "repo/.git/config", "repo/target/CACHEDIR.TAG", "repo/target/debug/a"]
        {
            let path = base.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        let (root, repo) = (DebianRoot { dir: base.join("root") }, base.join("repo"));
        root.bring(&repo).unwrap();
        let inside = root.inside(&repo);
        assert_eq!(fs::read_to_string(inside.join("tests/a.rs")).unwrap(), "repo/tests/a.rs");
        assert!(!inside.join(".git").exists() && !inside.join("target").exists());
        root.bring(&repo.join("target/debug/a")).unwrap();
        assert!(inside.join("target/debug/a").is_file());
        root.forget(&repo).unwrap();
        assert!(!inside.exists() && repo.exists());
        fs::remove_dir_all(base).unwrap();
    }
}
