//! Pipedrive, API v2 and the parts that only v1 has.
