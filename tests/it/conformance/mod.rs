//! What each connector promises, asked of each against its simulator.

mod pipedrive;
