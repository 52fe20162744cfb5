//! The GPU tests as a program that can be started on one software driver or another.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{Result, root::DebianRoot, shell};

/// A vector width of Mesa's software driver in bits, and the subgroup size that it gives.
pub type Width = (&'static str, u32);

/// Vector widths besides the driver's own choice on most machines, 256.
pub const OTHER_WIDTHS: [Width; 2] = [("128", 4), ("512", 16)];

/// Tests that are left out at other widths: sessions, random models, and golden models in anything but f32. Every kernel is held to
/// the reference at every width by tests of its own.
pub const NOT_AT_OTHER_WIDTHS: [&str; 8] = [
    "session::",
    "shapes::",
    "verify::other_formats",
    "verify::the_integer_path",
    "verify::the_matrix_path",
    "verify::kernels_of_gpus",
    "verify::caches",
    "verify::near_ties",
];

/// A software driver to run the GPU tests on.
pub struct Place {
    name: &'static str,
    program: PathBuf,
    /// The driver's manifest, as the tests see it.
    lavapipe: PathBuf,
    root: Option<DebianRoot>,
}

impl Place {
    /// The driver of this machine.
    pub fn installed(program: &Path, lavapipe: &Path) -> Self {
        Self { name: "installed Mesa", program: program.into(), lavapipe: lavapipe.into(), root: None }
    }

    /// The driver in a Debian root with the newest Mesa, into which all is copied that the tests need.
    ///
    /// # Errors
    /// Why that cannot be on this machine. It is no failure of the crate.
    pub fn newest(program: &Path, golden: Option<&Path>) -> Result<Self> {
        let (root, repo) = (DebianRoot::open()?, shell::repo());
        root.forget(&repo)?;
        for path in [Some(repo.as_path()), Some(program), golden].into_iter().flatten() {
            root.bring(path)?;
        }
        let lavapipe = root.lavapipe()?;
        // A program built on a newer system than this Debian does not start in it.
        shell::run_quietly(root.command(program, &repo).arg("--list"))?;
        Ok(Self { name: "newest Mesa", program: program.into(), lavapipe, root: Some(root) })
    }

    /// Where a folder that the tests write to lies on this machine.
    pub fn outside(&self, folder: &Path) -> PathBuf {
        self.root.as_ref().map_or_else(|| folder.into(), |root| root.inside(folder))
    }

    /// What a summary calls a run here.
    pub fn configuration(&self, width: Option<Width>) -> String {
        match width {
            Some((bits, lanes)) => format!("{}, {bits} bits, subgroups of {lanes}", self.name),
            None => self.name.into(),
        }
    }

    /// The test program as cargo would start it, in the package's folder and told where that is, on the software
    /// driver with a vector width or with the driver's own choice.
    pub fn command(&self, width: Option<Width>) -> Command {
        let repo = shell::repo();
        let mut command = match &self.root {
            Some(root) => root.command(&self.program, &repo),
            None => Command::new(&self.program),
        };
        command.current_dir(&repo).env("CARGO_MANIFEST_DIR", &repo);
        // Old loaders know only the second name.
        command.env("VK_DRIVER_FILES", &self.lavapipe).env("VK_ICD_FILENAMES", &self.lavapipe);
        if let Some((bits, _)) = width {
            // Only the size of subgroups is another one.
            command.env("LP_NATIVE_VECTOR_WIDTH", bits).env("WATTLE_SUBGROUPS", "1");
        }
        command
    }
}

/// Builds the GPU tests and returns their program.
pub fn program() -> Result<PathBuf> {
    if !shell::repo().join("tests/gpu").is_dir() {
        return Err("there are no GPU tests yet".into());
    }
    // The same selection of packages as before, or cargo would build some of them again.
    let arguments = ["test", "--workspace", "--test", "gpu", "--no-run", "--message-format=json"];
    let messages = shell::output(&mut shell::cargo(arguments))?;
    messages.lines().find_map(program_in).ok_or_else(|| "cargo built no test program 'gpu'".into())
}

fn program_in(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let is_gpu = message["reason"] == "compiler-artifact" && message["target"]["name"] == "gpu";
    message["executable"].as_str().filter(|_| is_gpu).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_among_cargo_s_messages() {
        let message = r#"{"reason":"compiler-artifact","target":{"name":"gpu","kind":["test"]},"executable":"/t/gpu-1"}"#;
        assert_eq!(program_in(message), Some("/t/gpu-1".into()));
        assert_eq!(program_in(&message.replace("\"name\":\"gpu\"", "\"name\":\"no_gpu\"")), None);
        assert_eq!(program_in(&message.replace("\"/t/gpu-1\"", "null")), None);
        assert_eq!(program_in("   Compiling wattle"), None);
    }
}
