//! Waiting.

use std::time::Duration;

use tokio::time::{interval, timeout};

/// Longer than anything takes, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits, but not for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("it did not come: {what}"))
}

/// Waits for what nothing tells of: `look` says what is still amiss.
pub(crate) async fn until(what: &str, mut look: impl AsyncFnMut() -> Result<(), String>) {
    let mut looks = interval(Duration::from_millis(50));
    let mut amiss = String::new();
    let waiting = async {
        while let Err(why) = look().await {
            amiss = why;
            looks.tick().await;
        }
    };
    if timeout(PATIENCE, waiting).await.is_err() {
        panic!("it did not come: {what}: {amiss}");
    }
}

/// For so long a fault lasts.
pub(crate) async fn lasts(duration: Duration) {
    // Nothing comes: the time is all there is to wait for.
    drop(timeout(duration, std::future::pending::<()>()).await);
}

/// A number from the environment.
pub(crate) fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}
