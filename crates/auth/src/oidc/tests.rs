use super::*;
use crate::file::Policy;

const GOOD: &str = "[oidc]\nissuer = \"https://login.example.org/realms/jobs\"\naudience = \"drumline\"\n\
    map = { \"job-admins\" = \"operator\", \"job-readers\" = \"reader\", \"all\" = \"reader\" }\n\
    organizations_claim = \"org\"\n";

fn oidc(text: &str) -> Oidc {
    let policy = Policy::parse(text).unwrap();
    Oidc::clone(policy.oidc().unwrap())
}

fn owner(text: &str, claims: &str) -> Result<Principal, Denied> {
    let claims: Map<String, Value> = serde_json::from_str(claims).unwrap();
    oidc(text).owner(&claims, Timestamp::from_millis(1_000))
}

#[test]
fn the_file_says_what_groups_may_do() {
    let claims = r#"{"sub": "jo", "groups": ["job-readers", "all", "job-admins", "x", 7], "org": ["contoso", "fabrikam"]}"#;
    let jo = owner(GOOD, claims).unwrap();
    assert_eq!(jo.roles, [Role::Reader, Role::Operator]);
    assert_eq!(jo.caller, "jo");
    assert!(!jo.may_act_for);
    let both = ["contoso", "fabrikam"].map(|name| Organization(name.to_owned()));
    assert_eq!(jo.organizations, Organizations::Only(both.to_vec()));
    let one = owner(
        GOOD,
        r#"{"sub": "jo", "groups": "job-readers", "org": "contoso"}"#,
    );
    assert_eq!(one.unwrap().roles, [Role::Reader]);
}

#[test]
fn who_has_no_role_or_organization_is_refused_and_no_token_is_for_all() {
    for (groups, org) in [
        (r#"["operator"]"#, r#""contoso""#),
        ("[]", r#""contoso""#),
        ("null", r#""contoso""#),
        (r#"{"job-admins": true}"#, r#""contoso""#),
    ] {
        let claims = format!(r#"{{"sub": "jo", "groups": {groups}, "org": {org}}}"#);
        let refused = owner(GOOD, &claims).unwrap_err();
        assert!(matches!(refused, Denied::NoRole { .. }), "{claims}");
    }
    for org in [r#""*""#, "[]", "null", r#""""#, r#"[" contoso"]"#, "7"] {
        let claims = format!(r#"{{"sub": "jo", "groups": "job-admins", "org": {org}}}"#);
        let refused = owner(GOOD, &claims).unwrap_err();
        assert!(matches!(refused, Denied::NoOrganization { .. }), "{claims}");
    }
    for sub in ["null", "7", r#""""#, r#""a\nb""#, r#""jö""#] {
        let claims = format!(r#"{{"sub": {sub}, "groups": "job-admins", "org": "contoso"}}"#);
        let refused = owner(GOOD, &claims).unwrap_err();
        let caller = BadToken::Caller {
            claim: "sub".to_owned(),
        };
        assert_eq!(refused, Denied::Token(caller), "{claims}");
    }
}

#[test]
fn a_claim_may_be_inside_another_one() {
    let text = GOOD.replace(
        "map =",
        "roles_claim = \"realm_access.roles\"\ncaller_claim = \"preferred_username\"\nmap =",
    );
    let nested = r#"{"preferred_username": "jo", "realm_access": {"roles": ["job-admins"]}, "org": "contoso"}"#;
    assert_eq!(owner(&text, nested).unwrap().caller, "jo");
    let whole =
        r#"{"preferred_username": "jo", "realm_access.roles": ["job-admins"], "org": "contoso"}"#;
    assert_eq!(owner(&text, whole).unwrap().roles, [Role::Operator]);
}

#[test]
fn all_may_be_of_the_same_organizations() {
    let text = GOOD.replace("organizations_claim = \"org\"", "organizations = [\"*\"]");
    let jo = owner(&text, r#"{"sub": "jo", "groups": "job-admins"}"#).unwrap();
    assert_eq!(jo.organizations, Organizations::All);
}

#[test]
fn each_mistake_in_the_table_is_named() {
    for (text, expected) in [
        (
            GOOD.replace("https://login", "http://login"),
            "https address",
        ),
        (GOOD.replace("realms/jobs", "?x=1"), "without a query"),
        (GOOD.replace("\"operator\"", "\"boss\""), "unknown variant"),
        (
            GOOD.replace("audience = \"drumline\"\n", ""),
            "missing field",
        ),
        (
            GOOD.replace("organizations_claim = \"org\"\n", ""),
            "either organizations_claim",
        ),
        (
            format!("{GOOD}organizations = [\"contoso\"]\n"),
            "either organizations_claim",
        ),
        (format!("{GOOD}secret = \"x\"\n"), "unknown field"),
        (
            "[oidc]\nissuer = \"https://a\"\naudience = \"x\"\nmap = {}\norganizations = [\"a\"]\n"
                .to_owned(),
            "1 to 1024 groups",
        ),
    ] {
        let error = Policy::parse(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn people_are_asked_for_over_https_or_on_this_machine() {
    for safe in [
        "https://login.example.org",
        "https://login.example.org:8443/a?b#c",
        "http://127.0.0.1:8080/x",
        "http://localhost",
        "http://[::1]:8080",
    ] {
        assert!(is_safe_address(safe), "{safe}");
    }
    for unsafe_one in [
        "",
        "https://",
        "https:///x",
        "http://login.example.org",
        "http://127.0.0.1.example.org",
        "http://localhost@evil.example",
        "https://a@evil.example",
        "http://localhost\\@evil.example",
        "http://10.0.0.1",
        "ftp://localhost",
        "https://a b",
        "HTTP://evil.example",
    ] {
        assert!(!is_safe_address(unsafe_one), "{unsafe_one}");
    }
}

#[test]
fn keys_of_other_kinds_are_left_out() {
    let ed = r#"{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let others = [
        r#"{"kty": "oct", "kid": "a", "k": "c2VjcmV0"}"#,
        r#"{"kty": "EC", "crv": "P-384", "kid": "a", "x": "AA", "y": "AA"}"#,
        r#"{"kty": "RSA", "kid": "a", "alg": "RSA-OAEP", "n": "AA", "e": "AQAB"}"#,
        r#"{"kty": "RSA", "kid": "a", "use": "enc", "n": "AA", "e": "AQAB"}"#,
        r#"{"kty": "RSA", "kid": "a", "alg": "PS256", "n": "AA", "e": "AQAB"}"#,
        r#"{"kty": "new", "kid": "a"}"#,
        "7",
    ];
    for other in others {
        let none = format!(r#"{{"keys": [{other}]}}"#);
        assert!(KeySet::parse(none.as_bytes()).is_err(), "{other}");
    }
    let all = format!(r#"{{"keys": [{}, {ed}]}}"#, others.join(", "));
    assert!(KeySet::parse(all.as_bytes()).is_ok());
    for bad in ["", "[]", "{}", r#"{"keys": []}"#] {
        assert!(KeySet::parse(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn each_mistake_of_the_console_is_named_and_no_secret_is_shown() {
    let good = format!(
        "{GOOD}[oidc.console]\nclient_id = \"c\"\nsession_key_file = \"keys\"\nclient_secret_file = \"secret\"\n\
         redirect_url = \"https://jobs.example.org/login/callback\"\n"
    );
    let key = "m4rk3r".repeat(8);
    let load = |text: &str, keys: &str, secret: &str| {
        Policy::load(text, |name| {
            Ok(if name == "keys" { keys } else { secret }.to_owned())
        })
    };
    let policy = load(&good, &format!("# a\n{key}\n\n{key}2\n"), "m4rk3r\n").unwrap();
    let console = policy.oidc().unwrap().sign_in().unwrap();
    assert_eq!(console.client_secret(), Some("m4rk3r"));
    assert_eq!(console.scope(), "openid");
    assert!(!format!("{policy:?}").contains("m4rk3r"));
    let unread = Policy::parse(&good).unwrap();
    assert!(unread.oidc().unwrap().sign_in().is_none());
    let http = good.replace("https://jobs", "http://jobs");
    let elsewhere = good.replace("/login/callback", "/callback");
    let scope = format!("{good}scope = \"profile\"\n");
    let one_audience = good.replace("client_id = \"c\"", "client_id = \"drumline\"");
    for (text, keys, secret, expected) in [
        (&good, "m4rk3r", "x", "at least 32 characters"),
        (&good, "", "x", "1 to 4 lines"),
        (&good, key.as_str(), "", "one line"),
        (&good, key.as_str(), "m4rk3r\nm4rk3r", "one line"),
        (&http, key.as_str(), "x", "redirect_url"),
        (&elsewhere, key.as_str(), "x", "redirect_url"),
        (&scope, key.as_str(), "x", "openid"),
        (&one_audience, key.as_str(), "x", "the same as audience"),
    ] {
        let error = load(text, keys, secret).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(!error.contains("m4rk3r"), "{error}");
    }
}
