//! Where a job's source comes from: a URL through egress, an upload out of the store.

use std::sync::Arc;

use domain::{BoxFuture, Failure, Source, SourceOpener, SourceSpec, Tally, TrackChoice};
use egress::HttpSources;
use store::UploadSources;

/// Opens whatever a job may name.
pub(crate) struct Sources {
    pub(crate) urls: Arc<HttpSources>,
    pub(crate) uploads: UploadSources,
}

impl SourceOpener for Sources {
    fn open<'a>(
        &'a self,
        source: &'a SourceSpec,
        wanted: Option<&'a TrackChoice>,
        tally: Arc<Tally>,
    ) -> BoxFuture<'a, Result<Arc<dyn Source>, Failure>> {
        match source {
            SourceSpec::Url { .. } => self.urls.open(source, wanted, tally),
            SourceSpec::Upload { file, .. } => Box::pin(self.uploads.open(file)),
        }
    }
}
