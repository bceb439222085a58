//! The start: connections, the streams of the cluster, and whether this user may do all that a pod does.

use std::error::Error;

use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{Config, Info};
use async_nats::{ConnectError, ConnectErrorKind, ConnectOptions, HeaderMap, Message, header, rustls};
use bytes::Bytes;
use serde_json::json;
use tokio::time::{Duration, Instant, sleep, timeout};

use super::link::{Link, Unanswered};
use super::settings::JetStreamSettings;
use super::start_error::StartError;
use super::streams::{self, LogNames};
use super::{Links, code};

/// The oldest server that does not lose what it has acknowledged, but for a power failure.
const OLDEST_VERSION: (i64, i64, i64) = (2, 15, 0);

/// Messages that wait for each reader of the log: 512 KiB each at most.
const LIVE_CAPACITY: usize = 512;

/// What waits for a reader on the other connection was asked for, and is bounded by that.
const BULK_CAPACITY: usize = 64 << 10;

/// Time between two attempts.
const RETRY: Duration = Duration::from_millis(250);

/// After so long without anybody who would answer, there is no JetStream.
const NOBODY: Duration = Duration::from_secs(2);

/// What the server refuses is told beside its answers, and may come after them.
const REFUSALS: Duration = Duration::from_millis(100);

/// A sequence that no log has as its last.
const NEVER_LAST: u64 = 9_000_000_000_000_000_000;

pub(super) async fn connect(settings: JetStreamSettings) -> Result<Links, StartError> {
    settings.check()?;
    let until = Instant::now() + settings.start_timeout;
    let live = link(&settings, LIVE_CAPACITY, until).await?;
    let bulk = link(&settings, BULK_CAPACITY, until).await?;
    let links = Links { live, bulk, settings };
    let start = Start { links: &links, until };
    start.check_version()?;
    start.prepare_streams().await?;
    start.check_permissions().await?;
    Ok(links)
}

/// A connection; servers that cannot be reached yet are waited for.
async fn link(settings: &JetStreamSettings, capacity: usize, until: Instant) -> Result<Link, StartError> {
    loop {
        let connected = Link::connect(settings.urls.clone(), options(settings).await?, capacity).await;
        let failed = match connected {
            Ok(link) => return Ok(link),
            Err(error) => connect_error(settings, &error),
        };
        if !matches!(failed, StartError::Unreachable { .. }) || Instant::now() + RETRY >= until {
            return Err(failed);
        }
        sleep(RETRY).await;
    }
}

async fn options(settings: &JetStreamSettings) -> Result<ConnectOptions, StartError> {
    let unreadable = |path: &std::path::Path, error: std::io::Error| StartError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let mut options = ConnectOptions::new()
        .name(format!("starling {}", settings.cluster))
        .connection_timeout(settings.connect_timeout);
    // The client leaves out who a URL names.
    if let Some((user, password)) = settings.user_and_password() {
        options = options.user_and_password(user, password);
    }
    if let Some(path) = &settings.credentials {
        options = options.credentials_file(path).await.map_err(|error| unreadable(path, error))?;
    }
    if let Some(path) = &settings.nkey {
        let seed = tokio::fs::read_to_string(path).await.map_err(|error| unreadable(path, error))?;
        options = options.nkey(seed.trim().to_owned());
    }
    if let Some(tls) = &settings.tls {
        options = options.require_tls(true);
        let files =
            tls.authorities.iter().chain(tls.certificate.iter().flat_map(|(certificate, key)| [certificate, key]));
        for path in files {
            tokio::fs::metadata(path).await.map_err(|error| unreadable(path, error))?;
        }
        if let Some(path) = &tls.authorities {
            options = options.add_root_certificates(path.clone());
        }
        if let Some((certificate, key)) = &tls.certificate {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        if tls.first {
            options = options.tls_first();
        }
    }
    Ok(options)
}

fn connect_error(settings: &JetStreamSettings, error: &ConnectError) -> StartError {
    let servers = settings.servers();
    let reason = error.to_string();
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation => StartError::WrongCredentials { servers },
        ConnectErrorKind::Authentication => match settings.nkey.as_ref().or(settings.credentials.as_ref()) {
            Some(path) => StartError::File { path: path.clone(), reason: "no key can be read from it".to_owned() },
            None => StartError::WrongCredentials { servers },
        },
        ConnectErrorKind::ServerParse => StartError::Settings { what: "a URL of NATS cannot be read" },
        ConnectErrorKind::Tls => StartError::Tls { servers, reason },
        _ if is_tls(error) => StartError::Tls { servers, reason },
        _ => StartError::Unreachable { servers, reason },
    }
}

/// Whether an error of a connection comes of TLS, which the client does not tell from others.
fn is_tls(error: &ConnectError) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        let io = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if error.is::<rustls::Error>() || io.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        source = error.source();
    }
    false
}

struct Start<'a> {
    links: &'a Links,
    until: Instant,
}

impl Start<'_> {
    fn settings(&self) -> &JetStreamSettings {
        &self.links.settings
    }

    fn check_version(&self) -> Result<(), StartError> {
        let (major, minor, patch) = OLDEST_VERSION;
        for link in [&self.links.live, &self.links.bulk] {
            if !link.client().is_server_compatible(major, minor, patch) {
                return Err(StartError::WrongVersion { found: link.client().server_info().version });
            }
        }
        Ok(())
    }

    /// Checks all streams that are there before it makes one that is not.
    async fn prepare_streams(&self) -> Result<(), StartError> {
        let settings = self.settings();
        let names = (0..settings.partitions).map(|partition| LogNames::new(&settings.cluster, partition));
        let logs = names.map(|names| streams::log_stream(settings, &names));
        let mut missing = Vec::new();
        for wanted in logs.chain([streams::store_stream(settings)]) {
            match self.stream("INFO", &wanted).await? {
                Some(found) => streams::check(&found, &wanted, settings)?,
                None => missing.push(wanted),
            }
        }
        for wanted in missing {
            let found = match self.stream("CREATE", &wanted).await? {
                Some(found) => Some(found),
                // Another pod was faster, and made another one.
                None => self.stream("INFO", &wanted).await?,
            };
            let found = found.ok_or_else(|| StartError::Refused {
                what: format!("stream {}", wanted.name),
                reason: "it comes and goes".to_owned(),
            })?;
            streams::check(&found, &wanted, settings)?;
        }
        Ok(())
    }

    /// What JetStream says of a stream that it is asked for, or is to make; nothing where it is not there, or is another.
    async fn stream(&self, call: &str, wanted: &Config) -> Result<Option<Config>, StartError> {
        let subject = format!("$JS.API.STREAM.{call}.{}", wanted.name);
        let payload = match call {
            "CREATE" => serde_json::to_vec(wanted).unwrap_or_default(),
            _ => Vec::new(),
        };
        loop {
            let answer = self.ask(&self.links.bulk, &subject, HeaderMap::new(), payload.clone().into()).await?;
            let error = match serde_json::from_slice(&answer.payload) {
                Ok(Response::<Info>::Ok(info)) => return Ok(Some(info.config)),
                Ok(Response::Err { error }) => error,
                Err(error) => return Err(StartError::Refused { what: subject, reason: error.to_string() }),
            };
            let (stream, reason) = (wanted.name.clone(), error.to_string());
            let fault = match error.error_code().0 {
                code::STREAM_NOT_FOUND | code::STREAM_NAME_IN_USE => return Ok(None),
                code::JETSTREAM_NOT_ENABLED | code::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
                    return Err(StartError::NoJetStream { reason });
                }
                code::SUBJECT_OVERLAPS => return Err(StartError::OtherCluster { stream, reason }),
                code::REPLICAS_NOT_SUPPORTED => {
                    return Err(StartError::TooFewReplicas { stream, wanted: wanted.num_replicas, reason });
                }
                // Servers that have just started do not know each other yet.
                code::NO_SUITABLE_PEERS => StartError::TooFewReplicas { stream, wanted: wanted.num_replicas, reason },
                code::CLUSTER_INCOMPLETE | code::CLUSTER_NOT_AVAILABLE | code::STREAM_OFFLINE => {
                    StartError::Unreachable { servers: self.settings().servers(), reason }
                }
                _ => return Err(StartError::Refused { what: format!("stream {stream}"), reason }),
            };
            if Instant::now() + RETRY >= self.until {
                return Err(fault);
            }
            sleep(RETRY).await;
        }
    }

    /// Asks until there is an answer, the server refuses the question, or it has taken too long.
    async fn ask(&self, link: &Link, subject: &str, headers: HeaderMap, payload: Bytes) -> Result<Message, StartError> {
        let since = Instant::now();
        loop {
            let until = self.until.min(Instant::now() + self.settings().answer_timeout);
            let unanswered = tokio::select! {
                answer = link.ask_once(subject.to_owned(), headers.clone(), payload.clone(), until) => match answer {
                    Ok(answer) => return Ok(answer),
                    Err(unanswered) => unanswered,
                },
                refused = link.refusal() => return Err(StartError::MissingPermission { refused }),
            };
            if unanswered == Unanswered::NobodyThere && since.elapsed() >= NOBODY {
                return Err(StartError::NoJetStream { reason: format!("nobody answers {subject}") });
            }
            if Instant::now() + RETRY >= self.until {
                let reason = format!("no answer to {subject}");
                return Err(StartError::Unreachable { servers: self.settings().servers(), reason });
            }
            sleep(RETRY).await;
        }
    }

    /// Does everything that a pod does in a way that changes nothing.
    async fn check_permissions(&self) -> Result<(), StartError> {
        let Links { live, bulk, settings } = self.links;
        // Refused unless the log ends there.
        let mut never = HeaderMap::new();
        never.insert(header::NATS_EXPECTED_LAST_SEQUENCE, NEVER_LAST.to_string());
        let nothing = Bytes::from(json!({ "seq": 1 }).to_string());
        let mut followed = Vec::new();
        for partition in 0..settings.partitions {
            let LogNames { stream, subject, published } = LogNames::new(&settings.cluster, partition);
            let subscribed = live.client().subscribe(published).await;
            followed.push(
                subscribed.map_err(|error| StartError::Refused { what: stream.clone(), reason: error.to_string() })?,
            );
            self.ask(live, &subject, never.clone(), Bytes::new()).await?;
            self.ask(bulk, &format!("$JS.API.DIRECT.GET.{stream}"), HeaderMap::new(), nothing.clone()).await?;
            // Below the sequence 1 there is nothing.
            self.ask(bulk, &format!("$JS.API.STREAM.PURGE.{stream}"), HeaderMap::new(), nothing.clone()).await?;
        }
        let bucket = streams::bucket(&settings.cluster);
        let store = streams::bucket_stream(&settings.cluster);
        for kind in ["C", "M"] {
            self.ask(bulk, &format!("$O.{bucket}.{kind}.nothing"), never.clone(), Bytes::new()).await?;
        }
        for call in ["DIRECT.GET", "STREAM.PURGE"] {
            self.ask(bulk, &format!("$JS.API.{call}.{store}"), HeaderMap::new(), nothing.clone()).await?;
        }
        let last = Bytes::from(json!({ "last_by_subj": format!("$O.{bucket}.M.nothing") }).to_string());
        self.ask(bulk, &format!("$JS.API.STREAM.MSG.GET.{store}"), HeaderMap::new(), last).await?;
        match timeout(REFUSALS, live.refusal()).await {
            Ok(refused) => Err(StartError::MissingPermission { refused }),
            Err(_) => Ok(()),
        }
    }
}
