//! What operators ask of a cluster.

use super::{Service, ServiceError};
use crate::cluster::ReplicatedLog;
use crate::cluster::status::{ActivationError, ClusterStatus};

impl Service {
    /// How this pod does. O(pods).
    ///
    /// # Errors
    ///
    /// [`ServiceError::ClusterOff`].
    pub async fn cluster_status(&self) -> Result<ClusterStatus, ServiceError> {
        Ok(self.cluster()?.status().await)
    }

    /// Has all pods go over to a level of the log; answers once it is active in all partitions.
    ///
    /// # Errors
    ///
    /// [`ServiceError::ClusterOff`]; [`ServiceError::LevelNotSupported`], and then nothing is done;
    /// [`ServiceError::Log`].
    pub async fn activate_level(&self, level: u32) -> Result<(), ServiceError> {
        self.cluster()?.activate(level).await.map_err(|error| match error {
            ActivationError::NotSupported { pod, highest } => ServiceError::LevelNotSupported { pod, highest },
            ActivationError::Fault(fault) => fault.into(),
        })
    }

    fn cluster(&self) -> Result<&ReplicatedLog, ServiceError> {
        self.log.cluster().map(AsRef::as_ref).ok_or(ServiceError::ClusterOff)
    }
}
