//! Waits on this machine for the browser that comes back from a vendor's consent page with a code.

use std::collections::BTreeMap;

use secrecy::SecretString;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::exit::{Exit, Failure};

/// Longest request that a browser makes here.
const LONGEST: usize = 16 * 1024;

/// What came back.
#[derive(Debug)]
pub(super) struct Returned {
    pub(super) code: SecretString,
    /// Zoho names the accounts server that made the code.
    pub(super) accounts_server: Option<String>,
}

/// Whether the address leads to this machine, so that we can wait there.
pub(super) fn is_local(redirect: &Url) -> bool {
    let host = redirect.host_str().unwrap_or_default();
    redirect.scheme() == "http" && ["127.0.0.1", "localhost"].contains(&host)
}

/// A place where the code can come back to.
pub(super) struct Listener {
    socket: TcpListener,
    path: String,
    state: String,
}

impl Listener {
    /// Listens at the redirect address for an answer that carries `state`.
    ///
    /// # Errors
    /// When the port is taken.
    pub(super) async fn start(redirect: &Url, state: &str) -> Result<Self, Failure> {
        let port = redirect.port_or_known_default().unwrap_or(80);
        let socket = TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| {
            Failure::config(format!("cannot wait for the browser at {redirect}: {error}"))
                .help("free the port, or register another redirect address with the app")
        })?;
        Ok(Self { socket, path: redirect.path().to_owned(), state: state.to_owned() })
    }

    /// Answers browsers until one brings a code. Answers with another state are refused and change nothing: they are
    /// not from the consent that we asked for.
    ///
    /// # Errors
    /// When the person refused consent, or gave up.
    pub(super) async fn wait(&self, cancel: &CancellationToken) -> Result<Returned, Failure> {
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = cancel.cancelled() => {
                    return Err(Failure::new(Exit::Config, "stopped; nothing was changed"));
                }
            };
            let Ok((mut stream, _)) = accepted else { continue };
            let Some(target) = request_target(&mut stream).await else { continue };
            let outcome = self.judge(&target);
            let (status, page) = match &outcome {
                Some(Ok(_)) => ("200 OK", "crmsync is signed in. You may close this page."),
                Some(Err(_)) => ("200 OK", "crmsync was not let in. You may close this page."),
                None => ("404 Not Found", "Nothing is here."),
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{page}",
                page.len()
            );
            // A browser that is gone has brought its answer all the same.
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
            if let Some(outcome) = outcome {
                return outcome;
            }
        }
    }

    /// What a request says; `None`: not what we wait for.
    fn judge(&self, target: &str) -> Option<Result<Returned, Failure>> {
        let url = Url::parse("http://127.0.0.1").ok()?.join(target).ok()?;
        let parts: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
        if url.path() != self.path || parts.get("state") != Some(&self.state) {
            return None;
        }
        if let Some(code) = parts.get("code") {
            let accounts_server = parts.get("accounts-server").cloned();
            return Some(Ok(Returned { code: SecretString::from(code.as_str()), accounts_server }));
        }
        let reason = parts.get("error")?;
        Some(Err(Failure::config(format!("consent was not given: {reason}"))))
    }
}

/// The target of a request's first line, once its head is here.
async fn request_target(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut chunk).await.ok()?;
        head.extend_from_slice(&chunk[..read]);
        if read == 0 || head.len() > LONGEST {
            return None;
        }
    }
    let text = String::from_utf8(head).ok()?;
    let mut words = text.lines().next()?.split(' ');
    (words.next()? == "GET").then(|| words.next().map(str::to_owned))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn given_requests_when_judged_then_only_our_state_brings_a_code() {
        let redirect: Url = "http://127.0.0.1:0/callback".parse().unwrap();
        let listener = Listener::start(&redirect, "ours").await.unwrap();
        let cases = [
            ("a code", "/callback?code=c&state=ours", Some(true)),
            ("consent refused", "/callback?error=user_denied&state=ours", Some(false)),
            ("another state", "/callback?code=c&state=theirs", None),
            ("no state", "/callback?code=c", None),
            ("another page", "/favicon.ico?code=c&state=ours", None),
            ("nothing", "/callback?state=ours", None),
        ];
        for (name, target, expected) in cases {
            let judged = listener.judge(target).map(|outcome| outcome.is_ok());
            assert_eq!(judged, expected, "{name}");
        }
    }

    #[test]
    fn given_redirect_addresses_when_looked_at_then_only_this_machine_is_local() {
        let cases = [
            ("http://127.0.0.1:8080/callback", true),
            ("http://localhost:8080/", true),
            ("https://127.0.0.1/", false),
            ("http://example.com/", false),
        ];
        for (address, expected) in cases {
            assert_eq!(is_local(&address.parse().unwrap()), expected, "{address}");
        }
    }
}
