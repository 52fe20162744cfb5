//! The package managers of Linux distributions, as far as a driver and a test root need them.

use std::process::Command;

use crate::{Result, shell};

/// A package manager and what its distribution calls the packages we may need.
pub struct Manager {
    /// The program on the path.
    pub program: &'static str,
    /// Fetches the lists of packages; empty where `install` does that itself.
    update: &'static [&'static str],
    /// Installs the packages whose names follow.
    install: &'static [&'static str],
    /// Mesa's software Vulkan driver, and the loader.
    pub vulkan: &'static [&'static str],
}

const MANAGERS: [Manager; 4] = [
    Manager {
        program: "apt-get",
        update: &["apt-get", "-qq", "update"],
        install: &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "install", "-y"],
        vulkan: &["mesa-vulkan-drivers", "libvulkan1"],
    },
    Manager {
        program: "dnf",
        update: &[],
        install: &["dnf", "-q", "-y", "install"],
        vulkan: &["mesa-vulkan-drivers", "vulkan-loader"],
    },
    Manager {
        program: "pacman",
        update: &[],
        install: &["pacman", "-Sy", "--noconfirm", "--needed"],
        vulkan: &["vulkan-swrast", "vulkan-icd-loader"],
    },
    Manager {
        program: "apk",
        update: &[],
        install: &["apk", "-q", "add"],
        vulkan: &["mesa-vulkan-swrast", "vulkan-loader"],
    },
];

/// How we may install packages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// We are root.
    Root,
    /// We are not, but `sudo` may help.
    Sudo,
    /// We cannot.
    None,
}

impl Privilege {
    /// What we may do on this machine.
    pub fn here() -> Self {
        if shell::is_root() {
            Self::Root
        } else if shell::has("sudo") {
            Self::Sudo
        } else {
            Self::None
        }
    }
}

impl Manager {
    /// The package manager of this machine.
    pub fn here() -> Option<&'static Self> {
        MANAGERS.iter().find(|manager| shell::has(manager.program))
    }

    /// Installs packages. The programs are silent unless they fail.
    pub fn install(&self, packages: &[&str], may: Privilege) -> Result<()> {
        let commands = self.commands(packages, may)?;
        let mut problems = Vec::new();
        for words in commands {
            let outcome = shell::run_quietly(Command::new(words[0]).args(&words[1..]));
            problems.push(outcome.err());
        }
        // Only the last command counts: lists that could not all be fetched may be good enough.
        match problems.last() {
            Some(Some(_)) => Err(problems.into_iter().flatten().collect::<Vec<_>>().join("\n")),
            _ => Ok(()),
        }
    }

    /// What installing comes down to, in order.
    fn commands<'a>(&self, packages: &[&'a str], may: Privilege) -> Result<Vec<Vec<&'a str>>> {
        let prefix: &[&str] = match may {
            Privilege::Root => &[],
            Privilege::Sudo => &["sudo"],
            Privilege::None => return Err("we are not root, and there is no sudo".into()),
        };
        let update = (!self.update.is_empty()).then(|| [prefix, self.update].concat());
        let install = [prefix, self.install, packages].concat();
        Ok(update.into_iter().chain([install]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(program: &str, may: Privilege) -> Result<Vec<String>> {
        let manager = MANAGERS.iter().find(|manager| manager.program == program).unwrap();
        Ok(manager.commands(manager.vulkan, may)?.iter().map(|words| words.join(" ")).collect())
    }

    #[test]
    fn apt_updates_its_lists_first() {
        let expected = [
            "apt-get -qq update",
            "env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y mesa-vulkan-drivers libvulkan1",
        ];
        assert_eq!(lines("apt-get", Privilege::Root).unwrap(), expected);
    }

    #[test]
    fn sudo_goes_in_front_of_every_command() {
        assert!(lines("apt-get", Privilege::Sudo).unwrap().iter().all(|line| line.starts_with("sudo ")));
        assert_eq!(
            lines("dnf", Privilege::Sudo).unwrap(),
            ["sudo dnf -q -y install mesa-vulkan-drivers vulkan-loader"]
        );
    }

    #[test]
    fn without_privilege_nothing_is_run() {
        assert!(lines("pacman", Privilege::None).is_err());
    }
}
