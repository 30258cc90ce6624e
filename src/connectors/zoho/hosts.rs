//! Where Zoho's data centers are, and which hosts may be given a token.

use url::Url;

use crate::connectors::ErrorKind;

/// The hosts of one data center.
///
/// Source: Zoho CRM API v8 SDK, data-center constants; `uk`: Zoho accounts documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    pub accounts: &'static str,
    pub api: &'static str,
    pub sandbox: &'static str,
    pub developer: &'static str,
    /// Pages where people work.
    pub web: &'static str,
}

macro_rules! regions {
    ($($region:literal: $zoho:literal, $api:literal;)*) => {
        /// All regions: what a person configures, such as `eu`.
        pub const REGIONS: &[&str] = &[$($region),*];

        /// The hosts of `region`; `None` when there is no such data center.
        pub fn region_hosts(region: &str) -> Option<Hosts> {
            match region {
                $($region => Some(Hosts {
                    accounts: concat!("https://accounts.", $zoho),
                    api: concat!("https://www.", $api),
                    sandbox: concat!("https://sandbox.", $api),
                    developer: concat!("https://developer.", $api),
                    web: concat!("https://crm.", $zoho),
                }),)*
                _ => None,
            }
        }

        /// Domains that Zoho serves accounts and APIs from.
        const DOMAINS: &[&str] = &[$($zoho, $api),*];
    };
}

regions! {
    "us": "zoho.com", "zohoapis.com";
    "eu": "zoho.eu", "zohoapis.eu";
    "in": "zoho.in", "zohoapis.in";
    "au": "zoho.com.au", "zohoapis.com.au";
    "jp": "zoho.jp", "zohoapis.jp";
    "cn": "zoho.com.cn", "zohoapis.com.cn";
    "ca": "zohocloud.ca", "zohoapis.ca";
    "sa": "zoho.sa", "zohoapis.sa";
    "uk": "zoho.uk", "zohoapis.uk";
}

/// Whether a token may be sent to a host that only an answer named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pinning {
    /// HTTPS and a Zoho domain.
    #[default]
    Vendor,
    /// Anywhere: for simulators.
    Any,
}

/// Checks that `url` may be given credentials.
///
/// # Errors
/// [`ErrorKind::Misconfigured`] naming the host.
pub(super) fn check(url: &Url, pinning: Pinning) -> Result<(), ErrorKind> {
    let host = url.host_str().unwrap_or_default();
    let known = DOMAINS.iter().any(|domain| {
        host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    });
    match pinning {
        Pinning::Any => Ok(()),
        Pinning::Vendor if known && url.scheme() == "https" => Ok(()),
        Pinning::Vendor => Err(ErrorKind::Misconfigured(format!(
            "`{}://{host}` is not a Zoho address; no token is sent there",
            url.scheme()
        ))),
    }
}

/// Pages of the data center that `accounts` belongs to: `https://crm.zoho.eu`.
pub(super) fn web_of(accounts: &Url) -> Option<String> {
    let domain = accounts.host_str()?.strip_prefix("accounts.")?;
    Some(format!("https://crm.{domain}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_hosts_when_checked_then_only_zoho_over_https_may_have_a_token() {
        let cases = [
            ("production", "https://www.zohoapis.eu", true),
            ("bare domain", "https://zohoapis.com", true),
            ("accounts", "https://accounts.zohocloud.ca", true),
            ("plain http", "http://www.zohoapis.eu", false),
            ("look-alike", "https://www.evilzohoapis.eu", false),
            ("suffix of another", "https://zohoapis.eu.example.com", false),
            ("loopback", "http://127.0.0.1:4711", false),
        ];

        for (name, url, allowed) in cases {
            let url = url.parse().unwrap();
            assert_eq!(check(&url, Pinning::Vendor).is_ok(), allowed, "{name}");
            assert!(check(&url, Pinning::Any).is_ok(), "{name}");
        }
    }

    #[test]
    fn given_every_region_when_looked_up_then_its_own_hosts_pass_the_check() {
        for region in REGIONS {
            let hosts = region_hosts(region).unwrap();
            for url in [hosts.accounts, hosts.api, hosts.sandbox, hosts.developer, hosts.web] {
                assert_eq!(
                    check(&url.parse().unwrap(), Pinning::Vendor),
                    Ok(()),
                    "{region}: {url}"
                );
            }
        }
        assert_eq!(region_hosts("atlantis"), None);
    }
}
