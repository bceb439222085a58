//! What is published: a stream of access units, played once, some times or for ever.

use std::path::{Path, PathBuf};

use tokio::fs::File;
use tokio::io::AsyncRead;

use super::Failure;
use super::annexb::{AccessUnit, AccessUnits};

/// The access units of a file or of standard input.
pub(super) struct Play {
    /// `None` for standard input.
    file: Option<PathBuf>,
    units: AccessUnits<Box<dyn AsyncRead + Send + Unpin>>,
    /// Further times; `None` = for ever.
    again: Option<u64>,
    /// Whether the file has held anything this time.
    held_some: bool,
    length: Option<u64>,
}

impl Play {
    /// Opens what is to be played `times` times; `None` = for ever.
    pub(super) async fn open(path: &Path, times: Option<u64>) -> Result<Self, Failure> {
        let again = times.map(|times| times.saturating_sub(1));
        if path.as_os_str() == "-" {
            let units = AccessUnits::new(Box::new(tokio::io::stdin()) as Box<_>);
            return Ok(Self { file: None, units, again: Some(0), held_some: false, length: None });
        }
        let file = read(path).await?;
        let length = file.metadata().await.ok().filter(std::fs::Metadata::is_file).map(|found| found.len());
        let length = length.zip(times).map(|(length, times)| length.saturating_mul(times));
        let units = AccessUnits::new(Box::new(file) as Box<_>);
        Ok(Self { file: Some(path.to_owned()), units, again, held_some: false, length })
    }

    /// How many bytes will be played; `None` when that is not known.
    pub(super) const fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next access unit; `None` at the end. Safe to drop and call again.
    pub(super) async fn next(&mut self) -> Result<Option<AccessUnit>, Failure> {
        loop {
            if let Some(unit) = self.units.next().await? {
                self.held_some = true;
                return Ok(Some(unit));
            }
            // Nothing, over and over, is nothing.
            let (Some(path), true, true) = (&self.file, self.held_some, self.again != Some(0)) else {
                return Ok(None);
            };
            self.units = AccessUnits::new(Box::new(read(path).await?));
            self.again = self.again.map(|again| again - 1);
            self.held_some = false;
        }
    }
}

async fn read(path: &Path) -> Result<File, Failure> {
    let opened = File::open(path).await;
    opened.map_err(|error| Failure(format!("cannot read {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is played, as far as `most` units.
    async fn played(bytes: &[u8], times: Option<u64>, most: usize) -> (Vec<u8>, Option<u64>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("clip.h264");
        std::fs::write(&path, bytes).unwrap();
        let mut play = Play::open(&path, times).await.ok().expect("it opens");
        let mut seen = Vec::new();
        for _ in 0..most {
            let Some(unit) = play.next().await.ok().expect("it reads") else { break };
            seen.extend_from_slice(&unit.data);
        }
        (seen, play.length())
    }

    /// Two pictures: an IDR slice and another one, each at the top left corner.
    const PICTURES: &[u8] = &[0, 0, 1, 0x65, 0x80, 0, 0, 1, 0x41, 0x80];

    #[tokio::test]
    async fn a_file_is_played_as_often_as_asked() {
        assert_eq!(played(PICTURES, Some(1), 9).await, (PICTURES.to_vec(), Some(10)));
        assert_eq!(played(PICTURES, Some(3), 9).await, (PICTURES.repeat(3), Some(30)));
        assert_eq!(played(PICTURES, None, 8).await, (PICTURES.repeat(4), None), "for ever");
    }

    #[tokio::test]
    async fn an_empty_file_ends_however_often_it_is_played() {
        assert_eq!(played(&[], None, 9).await, (Vec::new(), None));
    }
}
