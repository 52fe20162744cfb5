//! What this machine's own apt knows and a fresh Debian root must know too: the mirror and how to reach it.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::shell;

/// Where Debian is for everybody.
const PUBLIC_MIRROR: &str = "http://deb.debian.org/debian";

/// Mirrors of the Debian archive to try in order: those that this machine uses, then the public one.
pub fn mirrors() -> Vec<String> {
    let mut mirrors = Vec::new();
    // Another distribution's mirror does not carry Debian.
    if fs::read_to_string("/etc/os-release").is_ok_and(|text| text.lines().any(|line| line == "ID=debian")) {
        mirrors = own_mirrors(Path::new("/etc/apt"));
    }
    mirrors.push(PUBLIC_MIRROR.into());
    let mut seen = HashSet::new();
    mirrors.retain(|mirror| seen.insert(mirror.clone()));
    mirrors
}

/// What may be a mirror of the main archive in `sources.list` and `sources.list.d`; Debian's own files first.
fn own_mirrors(apt: &Path) -> Vec<String> {
    let folder = fs::read_dir(apt.join("sources.list.d")).into_iter().flatten().flatten();
    let mut files: Vec<_> = folder.map(|entry| entry.path()).collect();
    files.push(apt.join("sources.list"));
    files.sort_by_key(|path| {
        (!path.ends_with("sources.list") && !path.ends_with("debian.sources"), path.clone())
    });
    let mirrors = |path: &PathBuf| -> Vec<String> {
        let text = fs::read_to_string(path).unwrap_or_default();
        match path.extension().and_then(|end| end.to_str()) {
            Some("list") => text.lines().filter_map(mirror_of_line).collect(),
            Some("sources") => text.split("\n\n").filter_map(mirror_of_stanza).collect(),
            _ => Vec::new(),
        }
    };
    files.iter().flat_map(mirrors).collect()
}

/// One-line style: `deb [options] URI suite component...`.
fn mirror_of_line(line: &str) -> Option<String> {
    let rest = line.trim().strip_prefix("deb ")?.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?.1,
        None => rest,
    };
    let mut words = rest.split_whitespace();
    let uri = words.next()?;
    main_archive(uri, words.next()?, words.next()?)
}

/// deb822 style: a paragraph of fields; a line that begins with a space continues the field before.
fn mirror_of_stanza(stanza: &str) -> Option<String> {
    let text: Vec<&str> = stanza.lines().filter(|line| !line.starts_with('#')).collect();
    let text = text.join("\n").replace("\n ", " ");
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name)))
            .map(|it| it.1)
    };
    if !field("Types")?.split_whitespace().any(|kind| kind == "deb")
        || field("Enabled").is_some_and(|value| value.trim() == "no")
    {
        return None;
    }
    let component = field("Components")?.split_whitespace().next()?;
    let suite = field("Suites")?.split_whitespace().next()?;
    field("URIs")?.split_whitespace().find_map(|uri| main_archive(uri, suite, component))
}

/// The URI, if it may be a mirror of the main Debian archive that debootstrap can fetch from: only the base
/// suite (`bookworm`, not `bookworm-security`) with Debian's first component names that archive.
fn main_archive(uri: &str, suite: &str, component: &str) -> Option<String> {
    let fetchable = uri.starts_with("http://") || uri.starts_with("https://");
    let is_main = !suite.contains(['-', '/']) && component == "main";
    (fetchable && is_main).then(|| uri.trim_end_matches('/').into())
}

/// The settings of this machine's apt that say how to reach a mirror, as text for an `apt.conf.d` file.
pub fn reach() -> String {
    let dump = shell::output(Command::new("apt-config").arg("dump")).unwrap_or_default();
    let kept: Vec<&str> = dump.lines().filter(|line| says_how_to_reach(line)).collect();
    kept.join("\n") + "\n"
}

/// Proxies, checks of dates, retries; but nothing that names a program or a file of this machine.
fn says_how_to_reach(line: &str) -> bool {
    let wanted = ["Acquire::http::", "Acquire::https::", "Acquire::Check-", "Acquire::Retries"];
    let names_a_file = ["detect", "cainfo", "sslcert", "sslkey", "crlfile"];
    let lower = line.to_ascii_lowercase();
    wanted.iter().any(|start| line.starts_with(start))
        && !names_a_file.iter().any(|part| lower.contains(part))
}

/// The HTTP proxy in apt's settings; debootstrap reads it from the environment instead.
pub fn proxy(settings: &str) -> Option<&str> {
    let line = settings.lines().find_map(|line| line.strip_prefix("Acquire::http::Proxy \""))?;
    line.strip_suffix("\";").filter(|url| !url.is_empty() && *url != "DIRECT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_style() {
        let mirror = |line| mirror_of_line(line);
        assert_eq!(
            mirror("deb http://a.example/debian/ bookworm main"),
            Some("http://a.example/debian".into())
        );
        let options = "deb [arch=amd64 signed-by=/k.gpg] https://a.example/x/debian bookworm main contrib";
        assert_eq!(mirror(options), Some("https://a.example/x/debian".into()));
        assert_eq!(mirror("# deb http://a.example/debian bookworm main"), None);
        assert_eq!(mirror("deb-src http://a.example/debian bookworm main"), None);
        assert_eq!(mirror("deb http://a.example/debian-security bookworm-security main"), None);
        assert_eq!(mirror("deb http://a.example/debian bookworm-backports main"), None);
        assert_eq!(mirror("deb cdrom:[Debian]/ bookworm main"), None);
    }

    #[test]
    fn deb822_style() {
        let stanza = "Types: deb deb-src\n# a comment\nURIs: cdrom:/x\n http://a.example/debian\n\
                      Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg";
        assert_eq!(mirror_of_stanza(stanza), Some("http://a.example/debian".into()));
        assert_eq!(mirror_of_stanza(&format!("{stanza}\nEnabled: no")), None);
        assert_eq!(mirror_of_stanza(&stanza.replace("Types: deb deb-src", "Types: deb-src")), None);
        assert_eq!(mirror_of_stanza(&stanza.replace("bookworm bookworm-updates", "bookworm-security")), None);
    }

    #[test]
    fn debian_s_own_files_come_first() {
        let apt = std::env::temp_dir().join(format!("wattle-xtask-apt-{}", std::process::id()));
        let folder = apt.join("sources.list.d");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("a.list"), "deb https://other.example/apt cloud main\n").unwrap();
        fs::write(folder.join("b.list.disabled"), "deb http://off.example/debian bookworm main\n").unwrap();
        let stanza = "Types: deb\nURIs: http://own.example/debian\nSuites: bookworm\nComponents: main\n";
        fs::write(folder.join("debian.sources"), stanza).unwrap();
        let mirrors = own_mirrors(&apt);
        fs::remove_dir_all(apt).unwrap();
        assert_eq!(mirrors, ["http://own.example/debian", "https://other.example/apt"]);
    }

    #[test]
    fn settings_worth_taking_along() {
        assert!(says_how_to_reach("Acquire::http::Proxy \"http://p.example:3128\";"));
        assert!(says_how_to_reach("Acquire::Check-Valid-Until \"false\";"));
        assert!(!says_how_to_reach("Acquire::http::Proxy-Auto-Detect \"/usr/bin/detect\";"));
        assert!(!says_how_to_reach("Acquire::https::CaInfo \"/etc/own.pem\";"));
        assert!(!says_how_to_reach("Acquire::IndexTargets::deb::DEP-11 \"\";"));
    }

    #[test]
    fn the_proxy_for_debootstrap() {
        assert_eq!(proxy("Acquire::http::Proxy \"http://p.example:3128\";\n"), Some("http://p.example:3128"));
        assert_eq!(proxy("Acquire::http::Proxy \"DIRECT\";\n"), None);
        assert_eq!(proxy(""), None);
    }
}
