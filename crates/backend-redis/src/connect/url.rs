//! Reads the URL of a Redis, of the sentinels that know one, or of a Redis Cluster.
//!
//! ```text
//! redis://user:password@host:6379/0
//! redis+sentinel://user:password@host:26379,host:26379/name/0?sentinel-password=…
//! redis+cluster://user:password@host:6379,host:6379
//! ```
//!
//! User and password are those of Redis. Sentinels have their own, in the query. Some
//! nodes of a cluster are enough: they name the others.

use std::path::PathBuf;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisConnectionInfo};

/// The port of a sentinel whose address has none.
const SENTINEL_PORT: u16 = 26_379;
/// The port of a node of a cluster whose address has none.
const NODE_PORT: u16 = 6_379;
/// The parts of a query that are for the sentinels.
const SENTINEL_USER: &str = "sentinel-username";
const SENTINEL_PASSWORD: &str = "sentinel-password";

const EXPECTED: &str = "expected redis://user:password@host:6379/0, redis+sentinel://…, \
     redis+cluster://…, rediss://…, rediss+sentinel://…, rediss+cluster://…, redis+unix://… or unix://…";
const EXPECTED_OF_CLUSTER: &str =
    "expected redis+cluster://user:password@host:6379,host:6379, with some nodes of the cluster";
const EXPECTED_OF_SENTINELS: &str = "expected redis+sentinel://user:password@host:26379,host:26379/name/0?sentinel-password=…, \
     with the name that the sentinels have for the primary";
const ESCAPES: &str =
    "in a user name or a password, / @ : ? & and % are written as %2F %40 %3A %3F %26 and %25";

/// The content of a URL.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) place: Place,
    /// User, password and database of Redis.
    pub(super) settings: RedisConnectionInfo,
    /// True if the URL asks for TLS.
    pub(super) is_encrypted: bool,
}

/// The place of a Redis.
#[derive(Debug)]
pub(super) enum Place {
    /// Host and port.
    Tcp(String, u16),
    /// A socket of this machine.
    Unix(PathBuf),
    /// The sentinels that know where the primary is.
    Sentinels(SentinelPlaces),
    /// Host and port of some nodes of a cluster.
    Cluster(Vec<(String, u16)>),
}

/// The places of sentinels, and the name of the primary that they watch.
#[derive(Debug)]
pub(super) struct SentinelPlaces {
    pub(super) hosts: Vec<(String, u16)>,
    pub(super) name: String,
    /// User and password of the sentinels.
    pub(super) settings: RedisConnectionInfo,
}

/// Reads a URL. The reason of a refusal repeats nothing of it: it may hold a password.
pub(super) fn read(url: &str) -> Result<Parsed, String> {
    let (scheme, rest) = url.split_once("://").ok_or(EXPECTED)?;
    if rest.ends_with("#insecure") {
        return Err(
            "#insecure is not supported, because certificates are always verified: \
             name the file with the CA with --redis-ca-file"
                .to_owned(),
        );
    }
    if rest.contains('#') {
        return Err("a # in a user name or a password is written as %23".to_owned());
    }
    match scheme {
        "redis+sentinel" => read_sentinels(rest, false),
        "rediss+sentinel" => read_sentinels(rest, true),
        "redis+cluster" => read_cluster(rest, false),
        "rediss+cluster" => read_cluster(rest, true),
        // The library needs to know nothing of TLS.
        "rediss" => read_one(&format!("redis://{rest}"), true),
        "redis" | "redis+unix" | "unix" => read_one(url, false),
        _ => Err(EXPECTED.to_owned()),
    }
}

/// Reads the URL of one server.
fn read_one(url: &str, is_encrypted: bool) -> Result<Parsed, String> {
    let info = parse(url, EXPECTED)?;
    let place = match info.addr() {
        ConnectionAddr::Tcp(host, port) => Place::Tcp(host.clone(), *port),
        ConnectionAddr::Unix(path) => Place::Unix(path.clone()),
        _ => return Err(EXPECTED.to_owned()),
    };
    Ok(Parsed {
        place,
        settings: info.redis_settings().clone(),
        is_encrypted,
    })
}

/// Reads the URL of sentinels: what is behind `://`.
fn read_sentinels(rest: &str, is_encrypted: bool) -> Result<Parsed, String> {
    let wrong = || format!("{EXPECTED_OF_SENTINELS}; {ESCAPES}");
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').ok_or_else(wrong)?;
    let (user, hosts) = user_and_hosts(authority).ok_or_else(wrong)?;
    let (name, database) = path.split_once('/').unwrap_or((path, ""));
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err(wrong());
    }
    let host = |text| place(text, SENTINEL_PORT).ok_or_else(wrong);
    let hosts = hosts.split(',').map(host).collect::<Result<_, _>>()?;

    let (mut sentinel_user, mut sentinel_password) = ("", "");
    let mut others = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some((SENTINEL_USER, value)) => sentinel_user = value,
            Some((SENTINEL_PASSWORD, value)) => sentinel_password = value,
            _ => others.push(pair),
        }
    }
    // The library undoes the escapes, and does not see the real hosts.
    let of_redis = format!("redis://{user}redis/{database}?{}", others.join("&"));
    let of_sentinels = match (sentinel_user, sentinel_password) {
        ("", "") => "redis://sentinel".to_owned(),
        (_, "") => return Err(format!("{SENTINEL_USER} needs {SENTINEL_PASSWORD}")),
        (user, password) => format!("redis://{user}:{password}@sentinel"),
    };
    let settings = |url: &str| {
        let info = parse(url, EXPECTED_OF_SENTINELS)?;
        Ok::<_, String>(info.redis_settings().clone())
    };
    Ok(Parsed {
        place: Place::Sentinels(SentinelPlaces {
            hosts,
            name: name.to_owned(),
            settings: settings(&of_sentinels)?,
        }),
        settings: settings(&of_redis)?,
        is_encrypted,
    })
}

/// Reads the URL of a cluster: what is behind `://`. It has one database, 0.
fn read_cluster(rest: &str, is_encrypted: bool) -> Result<Parsed, String> {
    let wrong = || format!("{EXPECTED_OF_CLUSTER}; {ESCAPES}");
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if !matches!(path, "" | "0") {
        return Err(format!("{}; a cluster has the database 0 only", wrong()));
    }
    let (user, hosts) = user_and_hosts(authority).ok_or_else(wrong)?;
    let host = |text| place(text, NODE_PORT).ok_or_else(wrong);
    let hosts = hosts.split(',').map(host).collect::<Result<_, _>>()?;
    let info = parse(
        &format!("redis://{user}redis/?{query}"),
        EXPECTED_OF_CLUSTER,
    )?;
    Ok(Parsed {
        place: Place::Cluster(hosts),
        settings: info.redis_settings().clone(),
        is_encrypted,
    })
}

/// The user with its `@`, or nothing, and the hosts. `None` for a user per host, or a
/// password that is not escaped.
fn user_and_hosts(authority: &str) -> Option<(String, &str)> {
    match authority.rsplit_once('@') {
        Some((user, _)) if user.contains('@') => None,
        Some((user, hosts)) => Some((format!("{user}@"), hosts)),
        None => Some((String::new(), authority)),
    }
}

/// Reads a host and its port. Neither a user nor a path belongs there.
fn place(text: &str, port_if_none: u16) -> Option<(String, u16)> {
    let info = format!("redis://{text}").into_connection_info().ok()?;
    let has_port = text
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    match info.addr() {
        ConnectionAddr::Tcp(host, port) if !text.contains(['@', '/']) => {
            Some((host.clone(), if has_port { *port } else { port_if_none }))
        }
        _ => None,
    }
}

fn parse(url: &str, expected: &str) -> Result<ConnectionInfo, String> {
    url.into_connection_info()
        .map_err(|_may_repeat_it| format!("{expected}; {ESCAPES}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_bad_urls_are_not_repeated() {
        for good in [
            "redis://host",
            "rediss://u:p@host:6379/0",
            "redis://[::1]:6379?protocol=resp3",
            "redis://me:%2F%40%3A%25%23@host",
            "unix:///run/redis.sock",
            "redis+sentinel://one/main",
            "rediss+sentinel://me:%2F%40@one,two:5,[::1]:6/main/3?sentinel-password=%26&protocol=resp3",
            "redis+cluster://one",
            "rediss+cluster://me:%2F%40@one,two:5,[::1]:6/0?protocol=resp3",
        ] {
            assert!(read(good).is_ok(), "{good}");
        }
        for bad in [
            "host:6379",
            "amqp://me:hush@host",
            "redis://me:hush@host:port",
            "redis://me:hush/hush@host",
            "redis://me:hush#hush@host",
            "redis://me:hush:hush/@host:1:2",
            "rediss://me:hush@host/#insecure",
            "redis://me:hush@host/database",
            "redis+sentinel://me:hush@host",
            "redis+sentinel://me:hush@host/",
            "redis+sentinel://me:hush/hush@host/main",
            "redis+sentinel://me:hush@/main",
            "redis+sentinel://me:hush@one,,two/main",
            "redis+sentinel://me:hush@one,me:hush@two/main",
            "redis+sentinel://me:hush@one:port/main",
            "redis+sentinel://me:hush@one/main/hush",
            "redis+sentinel://one/main?sentinel-password=hush#hush",
            "redis+sentinel://one/main?sentinel-password=hush/hush",
            "redis+sentinel://one/main?sentinel-username=hush",
            "redis+cluster://me:hush@one/1",
            "redis+cluster://me:hush/hush@one",
            "redis+cluster://me:hush@one,,two",
            "redis+cluster://me:hush@one,me:hush@two",
            "redis+cluster://me:hush@one:port",
        ] {
            let reason = read(bad).expect_err(bad);
            assert!(!reason.contains("hush"), "{bad}: {reason}");
        }
        let refused = read("rediss://host/#insecure").unwrap_err();
        assert!(refused.contains("--redis-ca-file"), "{refused}");
    }

    #[test]
    fn sentinels_have_places_a_name_and_users_of_their_own() {
        let parsed = read(
            "rediss+sentinel://me:a%2Fb@one,two:5,[::1]/main.1/3?sentinel-username=s&sentinel-password=c%26d",
        )
        .unwrap();
        assert!(parsed.is_encrypted);
        assert_eq!(parsed.settings.username(), Some("me"));
        assert_eq!(parsed.settings.password(), Some("a/b"));
        assert_eq!(parsed.settings.db(), 3);
        let Place::Sentinels(sentinels) = parsed.place else {
            panic!("{:?}", parsed.place);
        };
        let hosts = [("one", 26_379), ("two", 5), ("::1", 26_379)];
        assert_eq!(
            sentinels.hosts,
            hosts.map(|(host, port)| (host.to_owned(), port))
        );
        assert_eq!(sentinels.name, "main.1");
        assert_eq!(sentinels.settings.username(), Some("s"));
        assert_eq!(sentinels.settings.password(), Some("c&d"));
        assert_eq!(sentinels.settings.db(), 0);

        let cluster = read("redis+cluster://me:a%2Fb@one,two:5").unwrap();
        assert_eq!(cluster.settings.password(), Some("a/b"));
        assert!(matches!(cluster.place, Place::Cluster(hosts)
            if hosts == [("one".to_owned(), 6_379), ("two".to_owned(), 5)]));

        let Place::Sentinels(plain) = read("redis+sentinel://one/main").unwrap().place else {
            panic!("sentinels");
        };
        assert_eq!(plain.settings.password(), None);
    }
}
