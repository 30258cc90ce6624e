//! The sync engine: nouns and pure decisions, without any I/O.
