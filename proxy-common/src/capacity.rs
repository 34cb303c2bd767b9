//! How much fits into the maps of rules: one definition for the maps, for what a configuration may
//! ask for, and for the writer.
//!
//! A change of rules writes the new ranges beside the old ones and exchanges the ports afterwards,
//! so that tries of ranges have room for two generations of whatever is admitted. Tries and hash
//! tables take memory only for what is in them.

/// Ports there are.
pub const PORTS: usize = 1 << 16;

/// Rules of a configuration.
pub const MOST_RULES: usize = 1 << 10;

/// Ranges of sources, trusted and hairpin, of all rules of a configuration together.
pub const MOST_SOURCES: usize = 1 << 17;

/// Ranges of destinations of all rules of a configuration together, each counted for each port.
pub const MOST_DESTINATIONS: usize = 1 << 14;

/// Upstreams that can be known to be down at once. Of more than that, first packets are accepted.
pub const MOST_DOWN: usize = 1 << 10;

/// Generations of ranges that are in a trie at once: what was there, and what comes.
pub const GENERATIONS: usize = 2;

/// Entries of a trie of sources.
pub const SOURCES: usize = GENERATIONS * MOST_SOURCES;

/// Entries of the trie of destinations.
pub const DESTINATIONS: usize = GENERATIONS * MOST_DESTINATIONS;
