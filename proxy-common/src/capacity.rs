//! How many entries the maps have room for, defined once for the maps, for the validation of a
//! configuration and for the code that writes the maps.
//!
//! A change of rules writes the new ranges beside the old ones and then replaces the ports, so the
//! tries of ranges have room for two generations of whatever validation admits. Tries and hash
//! tables only take memory for the entries that they have.

/// Number of ports.
pub const PORTS: usize = 1 << 16;

/// Rules of a configuration.
pub const MAX_RULES: usize = 1 << 10;

/// Ranges of sources, trusted and hairpin, of all rules of a configuration together.
pub const MAX_SOURCES: usize = 1 << 17;

/// Ranges of destinations of all rules of a configuration together, each counted for each port.
pub const MAX_DESTINATIONS: usize = 1 << 14;

/// Upstreams that can be known to be down at once. Connections to any more are accepted.
pub const MAX_DOWN: usize = 1 << 10;

/// Generations of ranges that are in a trie at once: the old one and the new one.
pub const GENERATIONS: usize = 2;

/// Entries of a trie of sources.
pub const SOURCES: usize = GENERATIONS * MAX_SOURCES;

/// Entries of the trie of destinations.
pub const DESTINATIONS: usize = GENERATIONS * MAX_DESTINATIONS;

/// Sources whose rate is known at once.
pub const RATED_SOURCES: usize = 1 << 16;

/// Interfaces protected at once.
pub const INTERFACES: usize = 1 << 12;

/// Connections of the node's own pods that are known at once; any other needs a header.
pub const POD_CONNECTIONS: usize = 1 << 16;

/// Sockets shown at once; two per proxied connection.
pub const SOCKETS: usize = 1 << 17;
