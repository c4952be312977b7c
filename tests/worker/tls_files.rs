//! The files that TLS needs, as an action reads them when the configuration is loaded.

use omvalkeyaudit::params::{Retries, Settings, Values};
use omvalkeyaudit::worker::Action;
use std::fs;
use std::path::Path;
use testkit::{Authority, Identity, Scratch};

/// What an action with these parameters and TLS says, if it says anything.
fn complaint(parameters: &[(&str, &Path)]) -> Option<String> {
    let mut values = Values::default();
    values.add("tls", b"on");
    for (name, path) in parameters {
        values.add(name, path.to_str().unwrap().as_bytes());
    }
    let settings = Settings::from_values(&values).expect("good parameters");
    Action::new("test".to_owned(), settings, Retries::Forever).err()
}

/// Expects a complaint about `name` and its path with `why`, and with nothing of `secret` in it.
#[track_caller]
fn assert_refused(parameters: &[(&str, &Path)], name: &str, why: &str, secret: &str) {
    let text = complaint(parameters).expect("accepted");
    let path = parameters.iter().find(|(given, _)| *given == name).unwrap().1.display();
    let start =
        format!("parameter \"{name}\" has the value \"{path}\", but it must be a readable file");
    assert!(text.starts_with(&start) && text.contains(why), "no {why:?} in {text}");
    for line in secret.lines().filter(|line| !line.starts_with('-')) {
        assert!(!text.contains(line), "{text}");
    }
}

/// Text files that are no PEM as it should be, and what is said of each.
fn broken(pem: &str) -> [(String, &'static str); 5] {
    let half = &pem[..pem.len() / 2];
    [
        (String::new(), "it is empty"),
        (half.to_owned(), "section 1 in it does not end"),
        (pem.replacen("-----\n", "-----\n!!!!", 1), "section 1 in it is not base64"),
        (pem.replacen("-----\n", "----\n", 1), "section 1 in it begins with a broken line"),
        ("\x7fELF\0\x01\x02 garbage".to_owned(), "it has no "),
    ]
}

// Oracle for this and the following: the sentence, which names parameter, file and reason.
#[test]
fn certificates_of_authorities_are_read_from_a_file_or_a_folder_or_the_system() {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch);
    assert_eq!(complaint(&[]), None, "the system's");
    assert_eq!(complaint(&[("tls.cacert", &authority.path())]), None);

    let folder = scratch.join("folder");
    fs::create_dir_all(folder.join("within")).unwrap();
    let of_folder = [("tls.cacert", folder.as_path())];
    assert_refused(&of_folder, "tls.cacert", "no file in it has a certificate", "");
    fs::write(folder.join("README"), "no certificate").unwrap();
    assert_refused(&of_folder, "tls.cacert", "no file in it has a certificate", "");
    std::os::unix::fs::symlink("nowhere", folder.join("1a2b3c4d.0")).unwrap();
    fs::copy(authority.path(), folder.join("ca.pem")).unwrap();
    std::os::unix::fs::symlink("ca.pem", folder.join("5e6f7a8b.0")).unwrap();
    assert_eq!(complaint(&of_folder), None);
    fs::write(folder.join("broken.pem"), "-----BEGIN CERTIFICATE-----\n").unwrap();
    assert_refused(&of_folder, "tls.cacert", "broken.pem: section 1 in it does not end", "");
}

#[test]
fn a_broken_file_of_authorities_is_named() {
    let scratch = Scratch::new();
    let authority = Authority::new(&scratch);
    let missing = scratch.join("missing");
    assert_refused(&[("tls.cacert", &missing)], "tls.cacert", "No such file", "");
    let good = fs::read_to_string(authority.path()).unwrap();
    for (text, why) in broken(&good) {
        let path = scratch.write("ca.pem", text);
        assert_refused(&[("tls.cacert", &path)], "tls.cacert", why, "");
    }
    let no_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let path = scratch.write("ca.pem", format!("{good}{no_der}"));
    assert_refused(&[("tls.cacert", &path)], "tls.cacert", "certificate 2 in it is broken", "");
}

/// An action's own certificate and key, and those of another.
fn identities(scratch: &Scratch) -> [Identity; 2] {
    let authority = Authority::new(scratch);
    [authority.for_loopback(), authority.for_loopback()]
}

#[test]
fn a_broken_certificate_of_our_own_is_named() {
    let scratch = Scratch::new();
    let [own, _] = identities(&scratch);
    let with = |path: &Path, why: &str| {
        let parameters = [("tls.mycert", path), ("tls.myprivkey", own.key.as_path())];
        assert_refused(&parameters, "tls.mycert", why, "");
    };
    assert_eq!(complaint(&[("tls.mycert", &own.certificate), ("tls.myprivkey", &own.key)]), None);
    with(&scratch.join("missing"), "No such file");
    with(scratch.path(), "it is not a regular file");
    for (text, why) in broken(&fs::read_to_string(&own.certificate).unwrap()) {
        with(&scratch.write("certificate.pem", text), why);
    }
    with(&own.key, "it has no certificate");
    let no_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    with(&scratch.write("certificate.pem", no_der), "its first certificate is broken");
}

#[test]
fn a_broken_key_is_named_and_nothing_of_it_is_shown() {
    let scratch = Scratch::new();
    let [own, other] = identities(&scratch);
    let key = fs::read_to_string(&own.key).unwrap();
    let with = |path: &Path, why: &str| {
        let parameters = [("tls.mycert", own.certificate.as_path()), ("tls.myprivkey", path)];
        assert_refused(&parameters, "tls.myprivkey", why, &key);
    };
    with(&scratch.join("missing"), "No such file");
    for (text, why) in broken(&key) {
        with(&scratch.write("key.pem", text), why);
    }
    with(&own.certificate, "it has a certificate, but no private key");
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    with(&scratch.write("key.pem", encrypted), "the key in it is encrypted");
    let encrypted = key.replacen("-----\n", "-----\nProc-Type: 4,ENCRYPTED\n", 1);
    with(&scratch.write("key.pem", encrypted), "the key in it is encrypted");
    let no_der = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    with(&scratch.write("key.pem", no_der), "it is broken, or of a kind that TLS does not use");
    let why = format!("it is another one than that of \"{}\"", own.certificate.display());
    with(&other.key, &why);
}

// Oracle: the same file serves as both, as some tools write it.
#[test]
fn certificate_and_key_may_be_in_one_file() {
    let scratch = Scratch::new();
    let [own, _] = identities(&scratch);
    let texts = [&own.key, &own.certificate].map(|path| fs::read_to_string(path).unwrap());
    let both = scratch.write("both.pem", texts.concat());
    assert_eq!(complaint(&[("tls.mycert", &both), ("tls.myprivkey", &both)]), None);
}
