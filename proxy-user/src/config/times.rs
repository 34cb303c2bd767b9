//! Times that no option changes, and that those who start, probe and stop a run have to leave room for.
//! A test holds the manifests and the unit that are shipped against them.

use std::time::Duration;

/// How long a predecessor may take to answer before it counts as stuck, and is served beside.
pub const STUCK: Duration = Duration::from_secs(5);
/// How long locks may change hands between others before a start gives up.
pub const LONGEST_TAKEOVER: Duration = Duration::from_secs(15);
/// How long a predecessor goes on taking what is on its way to it when a successor serves: handshakes
/// that the other knows nothing of. And for so long that one can still fail, and the first would serve
/// again.
pub const HANDSHAKES: Duration = Duration::from_secs(3);
/// How often workers are asked whether they still come round, and counters are published.
pub const BEAT: Duration = Duration::from_secs(1);
/// Beats in a row without an answer after which a worker is stalled, and probes fail. Beats and not time:
/// where the whole process was stopped, the worker has to have its chance before it is judged.
pub const MISSED_BEATS: u32 = 2;
/// How long `foreword health` waits for an answer: a run that takes longer is not healthy.
pub const PROBE: Duration = Duration::from_secs(3);
