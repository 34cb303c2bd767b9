//! Coalesces requests for the status: any number of them at the same moment costs the control loop one
//! answer. No answer is older than its request.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use hyper::body::Bytes;
use tokio::sync::Mutex;

use super::{Request, RequestSender, Response};
use crate::operate::report::{Status, metrics};

/// Fetches the status, and shares it among concurrent requests.
#[derive(Debug)]
pub struct Snapshots {
    requests: RequestSender,
    taken: Mutex<Option<Arc<Snapshot>>>,
}

/// A status, or why there is none.
#[derive(Debug)]
pub struct Snapshot {
    /// When it was requested.
    asked: Instant,
    ask: Request,
    /// The answer.
    pub status: Result<Status, String>,
    metrics: OnceLock<Result<Bytes, String>>,
}

impl Snapshots {
    /// Requests go through this sender.
    pub fn at(requests: RequestSender) -> Self {
        Self { requests, taken: Mutex::new(None) }
    }

    /// The status as it is now, or a moment later.
    pub async fn status(&self) -> Arc<Snapshot> {
        self.snapshot(Request::Status).await
    }

    /// The status for a scrape, which stores it (see [`Request::Scrape`]).
    pub async fn scrape(&self) -> Arc<Snapshot> {
        self.snapshot(Request::Scrape).await
    }

    async fn snapshot(&self, ask: Request) -> Arc<Snapshot> {
        let now = Instant::now();
        // Requests that come while a status is being fetched wait here; the first of them fetches for all.
        let mut taken = self.taken.lock().await;
        if let Some(snapshot) = taken.as_ref().filter(|it| it.asked >= now && it.serves(&ask)) {
            return Arc::clone(snapshot);
        }
        let asked = Instant::now();
        let status = match self.requests.ask(ask.clone()).await {
            Response::Response(value) => {
                serde_json::from_value(value).map_err(|error| error.to_string())
            }
            Response::Error(error) => Err(error),
        };
        let snapshot = Arc::new(Snapshot { asked, ask, status, metrics: OnceLock::new() });
        *taken = Some(Arc::clone(&snapshot));
        snapshot
    }
}

impl Snapshot {
    /// Whether it answers this request as well.
    fn serves(&self, ask: &Request) -> bool {
        self.ask == Request::Scrape || self.ask == *ask
    }

    /// As `OpenMetrics` text, encoded once.
    pub fn metrics(&self) -> Result<Bytes, String> {
        let written = self.metrics.get_or_init(|| {
            let text = metrics::encode(self.status.as_ref()?);
            Ok(text.map_err(|error: fmt::Error| error.to_string())?.into())
        });
        written.clone()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::{join, join_all};

    use super::*;

    /// Answers all requests, with their number as what is answered.
    async fn count(mut pending: tokio::sync::mpsc::Receiver<super::super::PendingRequest>) {
        for number in 1.. {
            let Some(request) = pending.recv().await else { return };
            let status = Status { instance: number, ..Status::default() };
            request.answer(Response::Response(serde_json::to_value(status).unwrap()));
        }
    }

    #[tokio::test]
    async fn a_crowd_asks_once_and_who_comes_later_asks_anew() {
        let (requests, pending) = RequestSender::open();
        tokio::spawn(count(pending));
        let snapshots = Snapshots::at(requests);
        let number = |snapshot: Arc<Snapshot>| snapshot.status.as_ref().unwrap().instance;
        let crowd = join_all((0..100).map(|_| snapshots.status())).await;
        let numbers: Vec<_> = crowd.into_iter().map(number).collect();
        assert!(numbers.iter().all(|number| *number <= 2), "{numbers:?}");
        let before = numbers.into_iter().max().unwrap();
        assert_eq!(number(snapshots.status().await), before + 1, "an old one is no answer");
        let (status, scrape) = join(snapshots.status(), snapshots.scrape()).await;
        assert!(number(scrape) > number(status), "what is only looked at is not kept");
        let (scrape, status) = join(snapshots.scrape(), snapshots.status()).await;
        assert!(number(status) >= number(scrape));
    }
}
