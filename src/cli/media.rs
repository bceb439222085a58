//! What is published: video, and sound beside it, each in its time.

mod track;
mod unit;

use std::path::Path;

use self::track::Track;
pub(super) use self::unit::Unit;
use super::error::CliError;

/// The tracks of one or two inputs, played once, some times or for ever.
pub(super) struct Media {
    video: Track,
    audio: Option<Track>,
    /// Further times; `None` = for ever.
    again: Option<u64>,
}

impl Media {
    /// Opens what is to be played `times` times; `None` = for ever. Both inputs at once: who writes to two named pipes
    /// may open either of them first.
    pub(super) async fn open(
        video: &Path,
        audio: Option<&Path>,
        fps: f64,
        times: Option<u64>,
    ) -> Result<Self, CliError> {
        let audio = async {
            match audio {
                Some(audio) => Track::audio(audio).await.map(Some),
                None => Ok(None),
            }
        };
        let (video, audio) = tokio::try_join!(Track::video(video, fps), audio)?;
        let media = Self { video, audio, again: times.map(|times| times.saturating_sub(1)) };
        let pipe = media.tracks().find(|track| !track.is_file()).map(Track::name);
        match pipe {
            Some(name) if times != Some(1) => {
                Err(CliError(format!("{name} can be played only once: --loop needs a file")))
            }
            _ => Ok(media),
        }
    }

    /// Waits until every input has given something, which one that is empty does not; or until one of them is so far
    /// ahead that it must not wait for the others.
    pub(super) async fn begin(&mut self) -> Result<(), CliError> {
        while self.tracks().any(Track::is_behind) && !self.tracks().any(Track::is_full) {
            self.fill().await?;
        }
        match self.tracks().find(|track| track.is_over()) {
            Some(track) => Err(CliError(format!("{} is empty: there is nothing to publish", track.name()))),
            None => Ok(()),
        }
    }

    fn tracks(&self) -> impl Iterator<Item = &Track> {
        std::iter::once(&self.video).chain(&self.audio)
    }

    /// Whether all that is played are files, whose length is known.
    pub(super) fn is_file(&self) -> bool {
        self.tracks().all(Track::is_file)
    }

    /// How many bytes will be played; `None` when that is not known.
    pub(super) fn length(&self) -> Option<u64> {
        let once: Option<u64> = self.tracks().map(Track::length).sum();
        Some(once?.saturating_mul(self.again?.saturating_add(1)))
    }

    /// The first unit of the video, after [`Self::begin`].
    pub(super) fn first_of_video(&self) -> Option<&Unit> {
        self.video.unit()
    }

    /// The unit that is due first, of those that are there.
    pub(super) fn next(&self) -> Option<&Unit> {
        self.tracks().filter_map(Track::unit).min_by_key(|unit| unit.at)
    }

    pub(super) fn take(&mut self) -> Option<Unit> {
        let channel = self.next()?.channel;
        let tracks = std::iter::once(&mut self.video).chain(&mut self.audio);
        tracks.into_iter().find(|track| track.unit().is_some_and(|unit| unit.channel == channel))?.take()
    }

    /// Nothing is left, and nothing will come.
    pub(super) fn is_over(&self) -> bool {
        self.ended() && !self.goes_round()
    }

    fn ended(&self) -> bool {
        self.tracks().all(Track::is_over)
    }

    fn goes_round(&self) -> bool {
        // Nothing, over and over, is nothing.
        self.again != Some(0) && self.video.held_some()
    }

    /// Reads ahead until one more unit is there, or one more input is at its end; for ever when there is nothing to read.
    /// Safe to drop and call again.
    pub(super) async fn fill(&mut self) -> Result<(), CliError> {
        if self.ended() && self.goes_round() {
            // The tracks begin together again, however long each of them is.
            let from = self.tracks().map(Track::end).max().unwrap_or_default();
            self.video.rewind(from).await?;
            if let Some(audio) = &mut self.audio {
                audio.rewind(from).await?;
            }
            self.again = self.again.map(|again| again - 1);
        }
        let audio = async {
            match &mut self.audio {
                Some(audio) => audio.fill().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            filled = self.video.fill() => filled,
            filled = audio => filled,
        }
    }

    /// The next unit of all tracks, in the order of their times; `None` at the end.
    pub(super) async fn read(&mut self) -> Result<Option<Unit>, CliError> {
        while !self.is_over() && (self.ended() || self.tracks().any(Track::is_behind)) {
            self.fill().await?;
        }
        Ok(self.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_client::pb::swarm::v1::UpdateChannel;

    /// Two pictures: an IDR slice and another one, each at the top left corner.
    const PICTURES: &[u8] = &[0, 0, 1, 0x65, 0x80, 0, 0, 1, 0x41, 0x80];
    /// A frame of AAC of 7 bytes: its header. 1 024 samples at 48 000 a second.
    const FRAME: &[u8] = &[0xff, 0xf1, 0x4c, 0x80, 0, 0xff, 0xfc];

    /// What is played, as far as `most` units: channel, milliseconds.
    async fn played(video: &[u8], audio: Option<&[u8]>, times: Option<u64>, most: usize) -> Vec<(UpdateChannel, u128)> {
        let directory = tempfile::tempdir().unwrap();
        let (clip, sound) = (directory.path().join("clip.h264"), directory.path().join("sound.aac"));
        std::fs::write(&clip, video).unwrap();
        std::fs::write(&sound, audio.unwrap_or_default()).unwrap();
        let media = Media::open(&clip, audio.map(|_| sound.as_path()), 50.0, times).await;
        let mut media = media.expect("it opens");
        let mut seen = Vec::new();
        while seen.len() < most
            && let Some(unit) = media.read().await.expect("it reads")
        {
            seen.push((unit.channel, unit.at.as_millis()));
        }
        seen
    }

    const V: UpdateChannel = UpdateChannel::Visual;
    const A: UpdateChannel = UpdateChannel::Audio;

    #[tokio::test]
    async fn a_file_is_played_as_often_as_asked() {
        assert_eq!(played(PICTURES, None, Some(1), 9).await, [(V, 0), (V, 20)]);
        assert_eq!(played(PICTURES, None, Some(2), 9).await, [(V, 0), (V, 20), (V, 40), (V, 60)]);
        assert_eq!(played(PICTURES, None, None, 7).await.last(), Some(&(V, 120)), "for ever");
    }

    #[tokio::test]
    async fn audio_and_video_are_ordered_by_time() {
        let sound = FRAME.repeat(3);
        let once = [(V, 0), (A, 0), (V, 20), (A, 21), (A, 42)];
        assert_eq!(played(PICTURES, Some(&sound), Some(1), 9).await, once);
        let again = [(V, 64), (A, 64), (V, 84), (A, 85), (A, 106)];
        assert_eq!(played(PICTURES, Some(&sound), Some(2), 99).await, [once, again].concat(), "in step again");
    }

    #[tokio::test]
    async fn empty_file_ends_even_when_looped() {
        assert_eq!(played(&[], None, None, 9).await, []);
        assert_eq!(played(PICTURES, Some(&[]), Some(2), 9).await.len(), 4);
    }

    #[tokio::test]
    async fn full_input_does_not_wait_for_others() {
        let directory = tempfile::tempdir().unwrap();
        let (clip, sound) = (directory.path().join("clip.h264"), directory.path().join("sound.aac"));
        std::fs::write(&clip, PICTURES.repeat(1_000_000)).unwrap();
        // A pipe that begins as sound does, and then stops.
        let made = std::process::Command::new("mkfifo").arg(&sound).status().unwrap();
        assert!(made.success());
        let mut pipe = std::fs::OpenOptions::new().read(true).write(true).open(&sound).unwrap();
        std::io::Write::write_all(&mut pipe, &FRAME[..4]).unwrap();
        let mut media = Media::open(&clip, Some(&sound), 50.0, Some(1)).await.expect("it opens");
        media.begin().await.expect("the video is there");
        assert_eq!(media.next().map(|unit| unit.channel), Some(V));
    }

    #[tokio::test]
    async fn error_names_the_empty_input() {
        let directory = tempfile::tempdir().unwrap();
        let (clip, sound) = (directory.path().join("clip.h264"), directory.path().join("sound.aac"));
        std::fs::write(&clip, PICTURES).unwrap();
        std::fs::write(&sound, []).unwrap();
        let mut media = Media::open(&clip, Some(&sound), 50.0, Some(1)).await.expect("it opens");
        let failure = media.begin().await.expect_err("there is no sound").to_string();
        assert!(failure.contains("sound.aac is empty"), "{failure}");
        assert_eq!(media.length(), Some(10));
    }
}
