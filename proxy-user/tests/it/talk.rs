//! A connection to an echo that never falls silent, and accounts for each byte.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use netlab::{Client, PATIENCE, Reply, wait_until};

/// Between two words, so that several talks and their tests share a CPU.
const PAUSE: Duration = Duration::from_millis(2);

/// Longer than what a segment takes.
const WORD_LENGTH: u32 = 4096;

/// The word of that number: every four bytes of a talk are different from all others.
fn word(number: u32) -> Vec<u8> {
    let begin = number * (WORD_LENGTH / 4);
    (begin..begin + WORD_LENGTH / 4).flat_map(u32::to_be_bytes).collect()
}

/// Sends a word, waits for its echo, and so on. Whatever else comes back is a failure of the test.
pub struct Talk {
    words: Arc<AtomicU32>,
    is_over: Arc<AtomicBool>,
    talking: Option<JoinHandle<()>>,
}

impl Talk {
    /// Begins, on a thread of its own.
    pub fn begin(client: Client) -> Self {
        let (words, is_over) = (Arc::<AtomicU32>::default(), Arc::<AtomicBool>::default());
        let (count, end) = (Arc::clone(&words), Arc::clone(&is_over));
        let talking = thread::spawn(move || talk(client, &count, &end));
        let talk = Self { words, is_over, talking: Some(talking) };
        talk.assert_goes_on("at its beginning");
        talk
    }

    /// Waits for another ten words and their echoes.
    #[track_caller]
    pub fn assert_goes_on(&self, when: &str) {
        let goal = self.words.load(Ordering::Relaxed) + 10;
        let gone_on = wait_until(PATIENCE, "a talk to go on", || {
            let is_stuck = self.talking.as_ref().is_none_or(JoinHandle::is_finished);
            is_stuck || self.words.load(Ordering::Relaxed) >= goal
        });
        let words = self.words.load(Ordering::Relaxed);
        assert!(gone_on.is_ok() && words >= goal, "{when}: stuck after {words} words");
    }

    /// Ends in order, and gives back all that was sent.
    pub fn end(mut self) -> Vec<u8> {
        self.is_over.store(true, Ordering::Relaxed);
        let talking = self.talking.take().expect("it is taken only here");
        talking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (0..self.words.load(Ordering::Relaxed)).flat_map(word).collect()
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn talk(mut client: Client, words: &AtomicU32, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        let number = words.load(Ordering::Relaxed);
        let word = word(number);
        client.send(&word);
        let echo = client.receive(word.len());
        assert!(echo == word, "word {number} came back as another one");
        words.fetch_add(1, Ordering::Relaxed);
        sleep(PAUSE);
    }
    assert_eq!(client.finish_and_rest(), Reply::ended(b""));
}
