//! What comes, written to a file or to standard output.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter};

use crate::cli::audio::{OpusFile, is_adts};
use crate::cli::error::CliError;
use starling_client::Client;
use starling_client::pb::swarm::v1::{UpdateChannel, UpdatePosition};

/// One channel of one source, written where somebody asked for it. The file is created when something comes: a viewer
/// that gets nothing spoils no file of an earlier one.
pub(super) struct Recording {
    path: PathBuf,
    channel: UpdateChannel,
    /// The one whose updates are written. In a group the first that sends, unless one was asked for.
    source: Option<u64>,
    output: Option<BufWriter<Box<dyn AsyncWrite + Send + Unpin>>>,
    container: Container,
    /// Since the last flush.
    written_some: bool,
}

/// What has to stand around the payloads so that a player plays them.
enum Container {
    Nothing,
    /// Known when the first payload of sound has come.
    Sound,
    Ogg(Box<OpusFile>),
}

/// Why no more is written.
pub(super) enum Stop {
    /// Nobody reads standard output any more.
    Closed,
    Failed(CliError),
}

impl<E: Into<CliError>> From<E> for Stop {
    fn from(failure: E) -> Self {
        Self::Failed(failure.into())
    }
}

impl Recording {
    /// Payloads as they are, one behind the other.
    pub(super) fn new(path: &Path, channel: UpdateChannel, source: Option<u64>) -> Result<Self, CliError> {
        // What can be known to go wrong is told before the wait for the first update.
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
            let (path, directory) = (path.display(), directory.display());
            return Err(CliError(format!("cannot write {path}: there is no directory {directory}")));
        }
        if path.is_dir() {
            return Err(CliError(format!("cannot write {}: it is a directory", path.display())));
        }
        let path = path.to_owned();
        Ok(Self { path, channel, source, output: None, container: Container::Nothing, written_some: false })
    }

    /// Sound as a file that players play: AAC as it is, Opus in Ogg.
    pub(super) fn sound(path: &Path, source: Option<u64>) -> Result<Self, CliError> {
        Ok(Self { container: Container::Sound, ..Self::new(path, UpdateChannel::Audio, source)? })
    }

    fn is_mine(&self, source: u64, channel: UpdateChannel) -> bool {
        channel == self.channel && self.source.is_none_or(|own| own == source)
    }

    /// Writes the payload of an update, if it is of this channel and source.
    pub(super) async fn update(&mut self, position: &UpdatePosition, payload: &Bytes) -> Result<(), Stop> {
        if !self.is_mine(position.source_node_id, position.channel()) {
            return Ok(());
        }
        self.source = Some(position.source_node_id);
        if let Container::Sound = self.container {
            self.container = match is_adts(payload) {
                true => Container::Nothing,
                false => Container::Ogg(Box::new(OpusFile::new(serial()))),
            };
        }
        match &mut self.container {
            Container::Ogg(file) => {
                let added = file.add(payload.clone());
                let bytes = file.bytes();
                added.map_err(|error| self.unwritable(&error))?;
                self.write(&bytes).await
            }
            Container::Nothing | Container::Sound => self.write(payload).await,
        }
    }

    /// Updates were lost here.
    pub(super) fn lost(&mut self, source: u64, channel: UpdateChannel, updates: u64) {
        if let Container::Ogg(file) = &mut self.container
            && channel == self.channel
            && self.source == Some(source)
        {
            file.skip(updates);
        }
    }

    /// Whether something was written that a reader of a pipe may not see yet.
    pub(super) const fn is_dirty(&self) -> bool {
        self.written_some
    }

    pub(super) async fn flush(&mut self) -> Result<(), Stop> {
        self.written_some = false;
        if let Some(output) = &mut self.output {
            let flushed = output.flush().await;
            flushed.map_err(|error| self.unwritable(&error))?;
        }
        Ok(())
    }

    /// Writes what stands at the end of a file.
    pub(super) async fn finish(&mut self) -> Result<(), Stop> {
        if let Container::Ogg(file) = &mut self.container {
            let finished = file.finish();
            let bytes = file.bytes();
            finished.map_err(|error| self.unwritable(&error))?;
            self.write(&bytes).await?;
        }
        self.flush().await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.output.is_none() {
            self.output = Some(BufWriter::new(self.create().await?));
        }
        self.written_some = true;
        match &mut self.output {
            Some(output) => output.write_all(bytes).await.map_err(|error| self.unwritable(&error)),
            None => Ok(()),
        }
    }

    async fn create(&self) -> Result<Box<dyn AsyncWrite + Send + Unpin>, Stop> {
        if self.path.as_os_str() == "-" {
            return Ok(Box::new(tokio::io::stdout()));
        }
        match tokio::fs::File::create(&self.path).await {
            Ok(file) => Ok(Box::new(file)),
            Err(error) => Err(self.unwritable(&error)),
        }
    }

    fn unwritable(&self, error: &io::Error) -> Stop {
        let path = match self.path.as_os_str() == "-" {
            true if error.kind() == io::ErrorKind::BrokenPipe => return Stop::Closed,
            true => "standard output".into(),
            false => self.path.display().to_string(),
        };
        Stop::Failed(CliError(format!("cannot write {path}: {error}")))
    }
}

/// Any number that tells streams apart.
fn serial() -> u32 {
    u32::try_from(Client::random_node() & u64::from(u32::MAX)).unwrap_or_default()
}
