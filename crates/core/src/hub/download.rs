//! The hub's protocol: one JSON listing, and files that resume and are checked.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::config::RedirectAuthHeaders;
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

use super::{Hub, Info, ModelId, make_parent};
use crate::{Error, Result};

/// More is no listing.
const MAX_LISTING: u64 = 64 << 20;

pub(super) struct Client<'a> {
    hub: &'a Hub,
    agent: Agent,
}

impl Client<'_> {
    pub(super) fn new(hub: &Hub) -> Client<'_> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // Weights are served elsewhere, by signed addresses: the token is not theirs.
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .timeout_connect(Some(Duration::from_secs(15)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)))
            .user_agent(crate::ENGINE.replace(' ', "/"))
            .build();
        Client {
            hub,
            agent: config.into(),
        }
    }

    /// A model's commit and files.
    pub(super) fn info(&self, id: &ModelId) -> Result<Info> {
        let revision = id.revision.replace('/', "%2F");
        let url = format!(
            "{}/api/models/{}/revision/{revision}?blobs=true",
            self.endpoint(),
            id.name
        );
        let response = self.get(id, &url, 0)?;
        let text = response
            .into_body()
            .into_with_config()
            .limit(MAX_LISTING)
            .read_to_string()
            .map_err(|e| self.unreachable(id, &e))?;
        serde_json::from_str(&text).map_err(|e| {
            Error::unavailable(format!(
                "{}: {} does not answer as a hub: {e}",
                id.name, self.hub.endpoint
            ))
        })
    }

    /// Fetches one file to `path`, going on where an earlier attempt ended.
    pub(super) fn file(
        &self,
        id: &ModelId,
        commit: &str,
        name: &str,
        size: Option<u64>,
        sha256: Option<&str>,
        path: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        make_parent(path)?;
        let mut partial = path.as_os_str().to_owned();
        partial.push(".incomplete");
        let partial = Path::new(&partial);
        let there = fs::metadata(partial).map_or(0, |meta| meta.len());
        // A leftover that is not shorter than the whole is none of this file.
        let there = if size.is_some_and(|size| there < size) {
            there
        } else {
            0
        };

        let url = format!("{}/{}/resolve/{commit}/{name}", self.endpoint(), id.name);
        let response = self.get(id, &url, there)?;
        let resumed = response.status() == StatusCode::PARTIAL_CONTENT;
        let mut done = if resumed { there } else { 0 };
        let mut out = OpenOptions::new()
            .create(true)
            .write(true)
            .append(resumed)
            .truncate(!resumed)
            .open(partial)
            .map_err(|e| Error::io(partial, e))?;
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = body
                .read(&mut buffer)
                .map_err(|e| self.unreachable(id, &e))?;
            if read == 0 {
                break;
            }
            out.write_all(&buffer[..read])
                .map_err(|e| Error::io(partial, e))?;
            done += read as u64;
            progress(done);
        }
        out.sync_all().map_err(|e| Error::io(partial, e))?;
        drop(out);

        let wrong = |what: String| {
            // What is wrong from its first byte must not be gone on with.
            let _ = fs::remove_file(partial);
            Err(Error::unavailable(format!(
                "{}: {name}: {what}; try again",
                id.name
            )))
        };
        match size {
            Some(size) if done < size => {
                return Err(Error::unavailable(format!(
                    "{}: {name}: the connection ended after {done} of {size} bytes; try again to go on from there",
                    id.name
                )));
            }
            Some(size) if done > size => return wrong(format!("{done} bytes instead of {size}")),
            _ => {}
        }
        if let Some(sha256) = sha256 {
            let ours = digest(partial)?;
            if ours != sha256 {
                return wrong(format!("its SHA-256 is {ours}, not {sha256}"));
            }
        }
        fs::rename(partial, path).map_err(|e| Error::io(path, e))
    }

    /// A request that succeeded, from this byte on.
    fn get(&self, id: &ModelId, url: &str, from: u64) -> Result<Response<Body>> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.hub.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        let response = request.call().map_err(|e| self.unreachable(id, &e))?;
        let ModelId { name, revision } = id;
        let endpoint = &self.hub.endpoint;
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Error::model(format!(
                "{name}: no folder here, and {endpoint} does not show such a model without permission: it does not exist, or it \
                 is private or gated (accept its terms there and set HF_TOKEN)"
            ))),
            StatusCode::NOT_FOUND => Err(Error::model(format!(
                "{name}: neither a folder here nor a model on {endpoint} (revision {revision})"
            ))),
            status => Err(Error::unavailable(format!(
                "{name}: {endpoint} answers {status}"
            ))),
        }
    }

    fn endpoint(&self) -> &str {
        self.hub.endpoint.trim_end_matches('/')
    }

    fn unreachable(&self, id: &ModelId, error: &dyn std::fmt::Display) -> Error {
        Error::unavailable(format!(
            "{}: no folder here, and {} cannot be reached: {error}",
            id.name, self.hub.endpoint
        ))
    }
}

fn digest(path: &Path) -> Result<String> {
    let failed = |e| Error::io(path, e);
    let mut file = File::open(path).map_err(failed)?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).map_err(failed)?;
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
