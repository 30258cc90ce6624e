//! Zoho CRM, API v8.
