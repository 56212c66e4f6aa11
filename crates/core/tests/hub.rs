//! Models by name, against a hub on this machine.

#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use halo_core::hub::{Hub, ModelId};
use sha2::{Digest, Sha256};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A hub of one model, and the requests that it has seen.
struct Server {
    endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
}

/// What the server does with a path.
#[derive(Clone)]
enum Answer {
    Bytes(Vec<u8>),
    /// States the whole length, sends this many bytes and closes.
    Broken(Vec<u8>, usize),
    Status(u16),
    Redirect(String),
}

impl Server {
    fn new(answers: HashMap<String, Answer>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = Vec::new();
                for line in BufReader::new(stream.try_clone().unwrap()).lines() {
                    match line.unwrap_or_default() {
                        line if line.is_empty() => break,
                        line => head.push(line),
                    }
                }
                let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) else {
                    continue;
                };
                let field = |name: &str| {
                    head.iter().find_map(|line| {
                        Some(line.to_lowercase().strip_prefix(name)?.trim().to_owned())
                    })
                };
                let from: usize = field("range:").map_or(0, |range| {
                    range
                        .trim_start_matches("bytes=")
                        .trim_end_matches('-')
                        .parse()
                        .unwrap()
                });
                let token = field("authorization:").unwrap_or_default();
                seen.lock()
                    .unwrap()
                    .push(format!("{path} {from} {token}").trim_end().to_owned());
                let answer = answers.get(path).cloned().unwrap_or(Answer::Status(404));
                let (status, extra, body, length) = match answer {
                    Answer::Bytes(bytes) => {
                        let status = if from > 0 { 206 } else { 200 };
                        let body = bytes[from..].to_vec();
                        (status, String::new(), body.clone(), body.len())
                    }
                    Answer::Broken(bytes, sent) => {
                        (200, String::new(), bytes[..sent].to_vec(), bytes.len())
                    }
                    Answer::Status(status) => (status, String::new(), Vec::new(), 0),
                    Answer::Redirect(to) => (302, format!("location: {to}\r\n"), Vec::new(), 0),
                };
                let head = format!(
                    "HTTP/1.1 {status} x\r\n{extra}content-length: {length}\r\nconnection: close\r\n\r\n"
                );
                let _ = stream
                    .write_all(head.as_bytes())
                    .and_then(|()| stream.write_all(&body));
            }
        });
        Server { endpoint, requests }
    }

    fn hub(&self, name: &str) -> Hub {
        Hub {
            endpoint: self.endpoint.clone(),
            cache: cache(name),
            token: None,
            offline: false,
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

/// A fresh cache folder.
fn cache(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hub-{name}"));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

fn id(text: &str) -> ModelId {
    ModelId::parse(text).unwrap()
}

fn weights() -> Vec<u8> {
    (0..200_000u32).map(|n| (n % 251) as u8).collect()
}

fn model(sha256: Option<&str>) -> HashMap<String, Answer> {
    let ours: String = Sha256::digest(weights())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let sha256 = sha256.unwrap_or(&ours);
    let size = weights().len();
    let listing = format!(
        r#"{{"sha": "{COMMIT}", "siblings": [
            {{"rfilename": "README.md", "size": 5}},
            {{"rfilename": "pytorch_model.bin", "size": 9}},
            {{"rfilename": "consolidated.safetensors", "size": 9}},
            {{"rfilename": "../../model.safetensors", "size": 9}},
            {{"rfilename": "config.json", "size": 2}},
            {{"rfilename": "model.safetensors", "size": {size}, "lfs": {{"sha256": "{sha256}", "size": {size}, "pointerSize": 1}}}}
        ]}}"#
    );
    let at = |file: &str| format!("/org/name/resolve/{COMMIT}/{file}");
    HashMap::from([
        (
            "/api/models/org/name/revision/main?blobs=true".into(),
            Answer::Bytes(listing.into()),
        ),
        (at("config.json"), Answer::Bytes(b"{}".to_vec())),
        (
            at("model.safetensors"),
            Answer::Redirect("/elsewhere/weights".into()),
        ),
        ("/elsewhere/weights".into(), Answer::Bytes(weights())),
    ])
}

#[test]
fn a_model_is_fetched_once_and_found_again_without_a_connection() {
    let server = Server::new(model(None));
    let hub = server.hub("once");
    let mut last = (0, 0);
    let folder = hub
        .model(&id("org/name"), &mut |download| {
            last = (download.done, download.total)
        })
        .unwrap();
    assert_eq!(
        folder,
        hub.cache.join("models--org--name/snapshots").join(COMMIT)
    );
    assert_eq!(
        std::fs::read(folder.join("model.safetensors")).unwrap(),
        weights()
    );
    assert_eq!(last, (200_002, 200_002));
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    files.sort();
    assert_eq!(
        files,
        ["config.json", "model.safetensors"],
        "only what training needs"
    );
    assert_eq!(server.take().len(), 4);

    assert_eq!(
        hub.model(&id("org/name"), &mut |_| panic!("nothing to fetch"))
            .unwrap(),
        folder
    );
    assert_eq!(server.take().len(), 1, "the listing only");

    let offline = Hub {
        offline: true,
        ..hub.clone()
    };
    assert_eq!(offline.model(&id("org/name"), &mut |_| {}).unwrap(), folder);
    assert_eq!(
        offline
            .model(&id(&format!("org/name@{COMMIT}")), &mut |_| {})
            .unwrap(),
        folder
    );
    let gone = Hub {
        endpoint: "http://127.0.0.1:1".into(),
        ..hub
    };
    assert_eq!(gone.model(&id("org/name"), &mut |_| {}).unwrap(), folder);
    let error = gone.model(&id("org/other"), &mut |_| {}).unwrap_err();
    assert!(error.is_unavailable());
    assert!(
        error
            .to_string()
            .starts_with("org/other: no folder here, and http://127.0.0.1:1 cannot be reached: "),
        "{error}"
    );
}

#[test]
fn a_broken_download_goes_on_where_it_ended() {
    let mut answers = model(None);
    answers.insert(
        "/elsewhere/weights".into(),
        Answer::Broken(weights(), 150_000),
    );
    let broken = Server::new(answers).hub("resume");
    let error = broken.model(&id("org/name"), &mut |_| {}).unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    let folder = broken
        .cache
        .join("models--org--name/snapshots")
        .join(COMMIT);
    assert!(
        !folder.join("model.safetensors").exists(),
        "no half file under its name"
    );
    assert!(
        Hub {
            offline: true,
            ..broken.clone()
        }
        .model(&id("org/name"), &mut |_| {})
        .is_err()
    );

    let server = Server::new(model(None));
    let hub = Hub {
        endpoint: server.endpoint.clone(),
        ..broken
    };
    hub.model(&id("org/name"), &mut |_| {}).unwrap();
    assert_eq!(
        std::fs::read(folder.join("model.safetensors")).unwrap(),
        weights()
    );
    let ranges: Vec<_> = server
        .take()
        .into_iter()
        .filter(|request| request.contains("weights"))
        .collect();
    assert_eq!(ranges, ["/elsewhere/weights 150000"]);
}

#[test]
fn a_file_of_other_content_is_refused_and_not_kept() {
    let wrong = "0".repeat(64);
    let server = Server::new(model(Some(&wrong)));
    let hub = server.hub("content");
    let error = hub.model(&id("org/name"), &mut |_| {}).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("org/name: model.safetensors: its SHA-256 is "),
        "{error}"
    );
    let folder = hub.cache.join("models--org--name/snapshots").join(COMMIT);
    assert_eq!(
        std::fs::read_dir(folder).unwrap().count(),
        1,
        "the configuration only"
    );
}

#[test]
fn what_is_not_there_or_not_shown_is_said() {
    let server = Server::new(HashMap::from([
        (
            "/api/models/org/gated/revision/main?blobs=true".to_owned(),
            Answer::Status(401),
        ),
        (
            "/api/models/org/busy/revision/main?blobs=true".to_owned(),
            Answer::Status(503),
        ),
        (
            "/api/models/org/old/revision/v1.0?blobs=true".to_owned(),
            Answer::Bytes(
                format!(
                    r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "pytorch_model.bin"}}]}}"#
                )
                .into(),
            ),
        ),
        (
            "/api/models/org/page/revision/main?blobs=true".to_owned(),
            Answer::Bytes(b"<html>".to_vec()),
        ),
    ]));
    let hub = server.hub("said");
    let said = |text: &str| {
        let error = hub.model(&id(text), &mut |_| {}).unwrap_err();
        (
            error.is_model(),
            error.to_string().replace(&server.endpoint, "HUB"),
        )
    };
    assert_eq!(
        said("org/none"),
        (
            true,
            "org/none: neither a folder here nor a model on HUB (revision main)".into()
        )
    );
    assert_eq!(
        said("org/gated"),
        (
            true,
            "org/gated: no folder here, and HUB does not show such a model without permission: it does not exist, or it is \
             private or gated (accept its terms there and set HF_TOKEN)"
                .into()
        )
    );
    assert_eq!(
        said("org/busy"),
        (
            false,
            "org/busy: HUB answers 503 Service Unavailable".into()
        )
    );
    assert_eq!(
        said("org/old@v1.0"),
        (
            true,
            "org/old: the model has no safetensors weights on the hub".into()
        )
    );
    assert!(
        said("org/page")
            .1
            .starts_with("org/page: HUB does not answer as a hub: ")
    );
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let elsewhere = Server::new(HashMap::from([(
        "/signed".to_owned(),
        Answer::Bytes(weights()),
    )]));
    let mut answers = model(None);
    let weights = format!("/org/name/resolve/{COMMIT}/model.safetensors");
    // Another port is another host.
    let other = elsewhere.endpoint.replace("127.0.0.1", "localhost");
    answers.insert(weights, Answer::Redirect(format!("{other}/signed")));
    let server = Server::new(answers);
    let hub = Hub {
        token: Some("secret".into()),
        ..server.hub("token")
    };
    assert!(!format!("{hub:?}").contains("secret"));
    hub.model(&id("org/name"), &mut |_| {}).unwrap();
    assert!(
        server
            .take()
            .iter()
            .all(|request| request.ends_with(" bearer secret"))
    );
    assert_eq!(elsewhere.take(), ["/signed 0"]);
}

#[test]
fn only_names_are_names() {
    for path in [
        "model",
        "./org/name",
        "/org/name",
        "org/name/deeper",
        "../name",
        "org/",
        "org/na me",
        "a/b@",
        "",
    ] {
        assert_eq!(ModelId::parse(path), None, "{path}");
    }
    let ModelId { name, revision } = id("Qwen/Qwen2.5-0.5B@refs/pr/1");
    assert_eq!(
        (name.as_str(), revision.as_str()),
        ("Qwen/Qwen2.5-0.5B", "refs/pr/1")
    );
    let hub = Server::new(HashMap::new()).hub("paths");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert_eq!(hub.resolve(here, &mut |_| {}).unwrap(), here);
    // A folder that exists is never a name, though it looks like one.
    assert_eq!(
        hub.resolve(Path::new("src/data"), &mut |_| {}).unwrap(),
        Path::new("src/data")
    );
    assert_eq!(
        hub.resolve(Path::new("missing"), &mut |_| {}).unwrap(),
        Path::new("missing")
    );
}
