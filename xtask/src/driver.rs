//! A Vulkan driver to run on: finds what the loader would find, and on Linux installs the distribution's own
//! software driver where there is nothing.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    Result,
    packages::{Manager, Privilege},
};

/// What a Vulkan loader would find on this machine.
pub struct Found {
    /// Driver manifests (`*.json`), in the order of the folders.
    manifests: Vec<PathBuf>,
    /// Whether `libvulkan.so.1` is in a folder that the dynamic linker looks into.
    loader: bool,
    /// Whether the kernel shows a GPU.
    gpu: bool,
}

impl Found {
    /// Looks at the machine we are on.
    pub fn here() -> Self {
        Self::under(Path::new("/"), |name| env::var_os(name))
    }

    /// Looks at the machine whose file system begins at `root`.
    fn under(root: &Path, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let named = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].into_iter().find_map(&variable);
        let folders = match &named {
            Some(list) => env::split_paths(list).collect(),
            None => standard_folders(root, variable("HOME")),
        };
        let mut libraries = vec![root.join("usr/lib64"), root.join("usr/local/lib"), root.join("lib64")];
        for lib in ["usr/lib", "lib"] {
            libraries.push(root.join(lib));
            libraries.extend(entries(&root.join(lib)).into_iter().filter(|path| path.is_dir()));
        }
        if let Some(list) = variable("LD_LIBRARY_PATH") {
            libraries.extend(env::split_paths(&list));
        }
        let devices = [entries(&root.join("dev/dri")), entries(&root.join("dev"))].concat();
        Self {
            manifests: folders.iter().flat_map(|path| manifests(path)).collect(),
            loader: libraries.iter().any(|folder| folder.join("libvulkan.so.1").exists()),
            gpu: devices.iter().any(|path| is_gpu(path)),
        }
    }

    /// Mesa's driver that runs on the CPU.
    pub fn lavapipe(&self) -> Option<&Path> {
        let is_lavapipe = |path: &&PathBuf| file_name(path).starts_with("lvp_icd");
        self.manifests.iter().find(is_lavapipe).map(PathBuf::as_path)
    }

    /// Why nothing can run here, or `None` when something can. A manifest alone is not enough where there is
    /// no GPU: containers often carry the manifest of a driver whose device they were not given.
    fn missing(&self) -> Option<&'static str> {
        if self.manifests.is_empty() {
            Some("no Vulkan driver is installed")
        } else if !self.loader {
            Some("the Vulkan loader, libvulkan.so.1, is not installed")
        } else if !self.gpu && self.lavapipe().is_none() {
            Some("there is no GPU, and no Vulkan driver that does without")
        } else {
            None
        }
    }
}

/// Folders in which drivers leave their manifests.
fn standard_folders(root: &Path, home: Option<OsString>) -> Vec<PathBuf> {
    let system = ["etc", "etc/xdg", "usr/local/etc", "usr/local/share", "usr/share"];
    let home = home.map(|home| PathBuf::from(home).join(".local/share"));
    let parents = home.into_iter().chain(system.map(|folder| root.join(folder)));
    parents.map(|parent| parent.join("vulkan/icd.d")).collect()
}

/// The manifest that `path` is, or those in the folder that `path` is.
fn manifests(path: &Path) -> Vec<PathBuf> {
    let candidates = if path.is_dir() { entries(path) } else { vec![path.to_path_buf()] };
    candidates
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "json") && path.is_file())
        .collect()
}

fn is_gpu(device: &Path) -> bool {
    let name = file_name(device);
    name.starts_with("renderD") || name == "nvidiactl" || name == "dxg"
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Makes sure that there is something to run on; says in a line what it installs and why.
///
/// # Errors
/// When there is nothing and nothing can be installed: the message says what to install by hand.
pub fn ensure() -> Result<()> {
    // macOS has Metal and Windows DirectX 12, which brings its own software adapter.
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    let Some(why) = Found::here().missing() else { return Ok(()) };
    let Some(manager) = Manager::here() else {
        return Err(format!(
            "{why}: install your distribution's Mesa software Vulkan driver and Vulkan loader"
        ));
    };
    let packages = manager.vulkan.join(" ");
    println!(
        "setup: {why}; installing the distribution's software Vulkan with {} ({packages})",
        manager.program
    );
    manager
        .install(manager.vulkan, Privilege::here())
        .map_err(|error| format!("{why}, and installing one failed; install {packages} by hand\n{error}"))?;
    match Found::here().missing() {
        None => Ok(()),
        Some(still) => Err(format!("{packages} was installed, and yet {still}; ask `vulkaninfo --summary`")),
    }
}

/// Keeps Mesa's layer that picks a GPU for a desktop from complaining, as errors, that there is no desktop.
pub fn without_desktop(command: &mut Command) -> &mut Command {
    match env::var_os("XDG_RUNTIME_DIR") {
        Some(_) => command,
        None => command.env("NODEVICE_SELECT", "1"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file system with these empty files, removed when the test ends.
    struct FakeRoot(PathBuf);

    impl FakeRoot {
        fn new(name: &str, files: &[&str]) -> Self {
            let root = env::temp_dir().join(format!("wattle-xtask-{name}-{}", std::process::id()));
            for file in files {
                let path = root.join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
            Self(root)
        }

        fn found(&self) -> Found {
            Found::under(&self.0, |_| None)
        }
    }

    impl Drop for FakeRoot {
        fn drop(&mut self) {
            // Left behind in the temporary folder, it would disturb nobody.
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const LOADER: &str = "usr/lib/x86_64-linux-gnu/libvulkan.so.1";
    const LAVAPIPE: &str = "usr/share/vulkan/icd.d/lvp_icd.x86_64.json";
    const NVIDIA: &str = "etc/vulkan/icd.d/nvidia_icd.json";

    #[test]
    fn an_empty_machine_has_no_driver() {
        let root = FakeRoot::new("empty", &["usr/share/vulkan/icd.d/README"]);
        assert_eq!(root.found().missing(), Some("no Vulkan driver is installed"));
    }

    #[test]
    fn a_driver_without_the_loader_is_not_enough() {
        let root = FakeRoot::new("loaderless", &[LAVAPIPE]);
        assert!(root.found().missing().unwrap().contains("libvulkan.so.1"));
    }

    #[test]
    fn lavapipe_and_the_loader_are_enough() {
        let root = FakeRoot::new("software", &[LAVAPIPE, LOADER]);
        assert_eq!(root.found().missing(), None);
        assert_eq!(root.found().lavapipe(), Some(root.0.join(LAVAPIPE).as_path()));
    }

    #[test]
    fn a_hardware_driver_needs_its_gpu() {
        let without = FakeRoot::new("no-gpu", &[NVIDIA, LOADER]);
        assert!(without.found().missing().unwrap().contains("no GPU"));
        let with = FakeRoot::new("gpu", &[NVIDIA, LOADER, "dev/dri/renderD128"]);
        assert_eq!(with.found().missing(), None);
        assert_eq!(with.found().lavapipe(), None);
    }

    #[test]
    fn the_environment_names_the_manifests() {
        let root = FakeRoot::new("environment", &[NVIDIA, "own/lvp_icd.json", LOADER]);
        let own = |name: &str| (name == "VK_ICD_FILENAMES").then(|| root.0.join("own/lvp_icd.json").into());
        let found = Found::under(&root.0, own);
        assert_eq!(found.manifests, [root.0.join("own/lvp_icd.json")]);
        assert_eq!(found.missing(), None);
    }
}
