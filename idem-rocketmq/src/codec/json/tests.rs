use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "they are decoded only")]
struct JsonOrder {
    id: u8,
    #[serde(default)]
    buyer: JsonBuyer,
    #[serde(default)]
    items: Vec<JsonItem>,
    #[serde(default)]
    state: JsonState,
    #[serde(default)]
    notes: BTreeMap<String, u8>,
    #[serde(default)]
    counts: BTreeMap<u32, u8>,
    #[serde(default)]
    place: Option<(u8, u8)>,
    #[serde(default)]
    address: Option<std::net::IpAddr>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "they are decoded only")]
struct JsonBuyer {
    first_name: String,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "they are decoded only")]
struct JsonItem {
    price: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(dead_code, reason = "they are decoded only")]
enum JsonState {
    #[default]
    Due,
    Paid {
        by: String,
    },
    Sent(u8),
}

/// The error's text, which must hold no secret.
fn told_of<T: DeserializeOwned + std::fmt::Debug>(body: impl AsRef<[u8]>) -> String {
    let error = Codec::<T>::decode(&Json, &Bytes::copy_from_slice(body.as_ref())).unwrap_err().to_string();
    for secret in ["secret", "hunter2", "4711"] {
        assert!(!error.contains(secret), "{error}");
    }
    error
}

fn told(body: impl AsRef<[u8]>) -> String {
    let error = told_of::<JsonOrder>(body);
    let (what, place) = error.rsplit_once(", at line ").unwrap();
    assert!(place.contains("column"));
    what.to_owned()
}

#[test]
fn what_does_not_fit_is_named_with_its_path_and_never_with_its_value() {
    for (body, wanted) in [
        (r#"{"buyer":{"firstName":"a"}}"#, "the field `id` is missing"),
        (r#"{"id":1,"buyer":{}}"#, "the field `buyer.firstName` is missing"),
        (r#"{"id":1,"id":2}"#, "the field `id` is there twice"),
        (r#"{"id":"secret"}"#, "`id`: expected u8, found a string"),
        (r#"{"id":"x, expected hunter2"}"#, "`id`: expected u8, found a string"),
        (r#"{"id":4711}"#, "`id`: expected u8, found an unsuitable integer"),
        (r#"{"id":-1}"#, "`id`: expected u8, found an unsuitable integer"),
        (r#"{"id":1.5e300}"#, "`id`: expected u8, found a number with a fraction"),
        (r#"{"id":null}"#, "`id`: expected u8, found the value null"),
        (r#"{"id":[1]}"#, "`id`: expected u8, found an array"),
        (r#"{"id":{"secret":1}}"#, "`id`: expected u8, found an object"),
        ("[]", "expected struct JsonOrder with 8 elements, found another number of elements"),
        ("true", "expected struct JsonOrder, found a boolean"),
        (
            r#"{"id":1,"buyer":{"firstName":"a","secret":1}}"#,
            "`buyer`: a field is unknown; there are `firstName`",
        ),
        (
            r#"{"id":1,"items":[{"price":1},{"price":"secret"}]}"#,
            "`items[1].price`: expected u32, found a string",
        ),
        (r#"{"id":1,"items":[{"price":1},{}]}"#, "the field `items[1].price` is missing"),
        (r#"{"id":1,"notes":{"secret":"secret"}}"#, "`notes.*`: expected u8, found a string"),
        (
            r#"{"id":1,"counts":{"secret":1}}"#,
            "`counts.*`: expected a number as a member's name, found another one",
        ),
        (r#"{"id":1,"place":[1,2,3]}"#, "`place`: expected the end of the array, found more elements"),
        (r#"{"id":1,"place":[1]}"#, "`place`: expected a tuple of size 2, found another number of elements"),
        (
            r#"{"id":1,"state":"SECRET"}"#,
            "`state`: expected one of `DUE`, `PAID`, `SENT`, found another variant",
        ),
        (r#"{"id":1,"state":{"PAID":{}}}"#, "the field `state.PAID.by` is missing"),
        (r#"{"id":1,"state":{"SENT":"secret"}}"#, "`state.SENT`: expected u8, found a string"),
        (r#"{"id":1,"state":"SENT"}"#, "`state`: expected newtype variant, found a string"),
        (r#"{"id":1,"state":4711}"#, "`state`: expected a variant, found something else"),
        (r#"{"id":1,"state":{"DUE":1,"PAID":2}}"#, "`state.DUE`: expected unit, found an integer"),
        (r#"{"id":1,"state":{"SENT":1,"PAID":2}}"#, "`state`: expected one variant, found more members"),
        (r#"{"id":1,"state":{}}"#, "`state`: expected a variant, found an empty object"),
        (r#"{"id":1,"address":"secret"}"#, "`address`: its type refuses the value"),
    ] {
        let unfit = format!("the JSON does not fit the payload's type: {wanted}");
        assert_eq!(told(body), unfit, "{body}");
    }
}

#[test]
fn what_is_no_json_says_why() {
    let deep = format!(r#"{{"id":1,"buyer":{}"#, "[".repeat(200_000));
    let json = |text: &str| format!("{{\"id\":{text}");
    for (body, wanted) in [
        (b"secret".to_vec(), "the body is no JSON"),
        (br#"{"id":"#.to_vec(), "the JSON ends too early"),
        // The type refuses it before it ends.
        (br#"{"id":"secret""#.to_vec(), "the JSON ends too early"),
        (br#"{"id":"secret" nonsense}"#.to_vec(), "the body is no JSON"),
        (b"\xff\xfe{\x00}\x00".to_vec(), "the body is no JSON: it begins as UTF-16 does, and JSON is UTF-8"),
        (json("1} {}").into_bytes(), "the body is no JSON: something comes behind its end"),
        (json("1,}").into_bytes(), "the body is no JSON: it has a comma too many"),
        (
            b"{\"id\":1,\"buyer\":{\"firstName\":\"\xff\"}}".to_vec(),
            "the body is no JSON: it has bytes that are no UTF-8",
        ),
        (json("1e400}").into_bytes(), "the JSON has a number that is out of range"),
        (deep.into_bytes(), "the JSON ends too early"),
    ] {
        let what = told_or_whole(&body);
        assert_eq!(what, wanted, "{}", String::from_utf8_lossy(&body[..body.len().min(40)]));
    }
    assert_eq!(told_of::<JsonOrder>(""), "the body is empty, and no JSON");
}

fn told_or_whole(body: &[u8]) -> String {
    let error = told_of::<JsonOrder>(body);
    error.rsplit_once(", at line ").map_or_else(|| error.clone(), |(what, _)| what.to_owned())
}

#[test]
fn json_that_is_nested_too_deep_says_so() {
    let (begin, end) = ("[".repeat(200), "]".repeat(200));
    let error = told_of::<serde_json::Value>(format!("{begin}{end}"));
    assert_eq!(error, "the JSON is nested too deep: more than 127 levels, at line 1 column 128");
    // A part that the type ignores may be as deep as it likes.
    let body = Bytes::from(format!(r#"{{"id":1,"unknown":{begin}{end}}}"#));
    let order: JsonOrder = Json.decode(&body).unwrap();
    assert_eq!(order.id, 1);
    assert_eq!(
        told(format!(r#"{{"unknown":{begin}{end},"id":"secret"}}"#)),
        "the JSON does not fit the payload's type"
    );
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let order: JsonOrder = Json.decode(&Bytes::from_static(b"\xef\xbb\xbf{\"id\":1}")).unwrap();
    assert_eq!(order.id, 1);
    assert_eq!(told_of::<JsonOrder>(b"\xef\xbb\xbf"), "the body is empty, and no JSON");
}

/// A type may say more, or something else, than its fields do.
#[test]
fn types_with_code_of_their_own_leak_nothing() {
    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "they are decoded only")]
    enum NumberOrOrder {
        Number(u8),
        Order(JsonOrder),
    }
    #[derive(Debug, Deserialize)]
    #[serde(tag = "kind")]
    #[expect(dead_code, reason = "they are decoded only")]
    enum TaggedOrder {
        Paid { id: u8 },
    }
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "they are decoded only")]
    struct FlatOrder {
        id: u8,
        #[serde(flatten)]
        item: JsonItem,
    }
    /// JSON in JSON, whose error quotes the value.
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "it is decoded only")]
    struct NestedJson(#[serde(deserialize_with = "nested")] u8);
    fn nested<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
        let text = String::deserialize(deserializer)?;
        serde_json::from_str(&text).map_err(serde::de::Error::custom)
    }
    let unfit = "the JSON does not fit the payload's type";
    let told = [
        told_of::<NumberOrOrder>(r#""secret""#),
        told_of::<TaggedOrder>(r#"{"kind":"secret"}"#),
        told_of::<TaggedOrder>(r#"{"kind":"Paid"}"#),
        told_of::<FlatOrder>(r#"{"id":1,"secret":2}"#),
        told_of::<FlatOrder>(r#"{"id":"secret","price":2}"#),
        told_of::<NestedJson>(r#""\"secret\"""#),
    ];
    let told = told.map(|error| {
        let what = error.rsplit_once(", at line ").unwrap().0.to_owned();
        what.strip_prefix(unfit).unwrap().to_owned()
    });
    let wanted = [
        ": its type refuses a value",
        ": `*`: expected one of `Paid`, found another variant",
        ": the field `id` is missing",
        ": the field `price` is missing",
        ": `*`: expected u8, found a string",
        ": its type refuses a value",
    ];
    assert_eq!(told, wanted.map(str::to_owned));
}

fn digest(body: &str) -> [u8; 16] {
    Codec::<JsonOrder>::fingerprint(&Json, &Bytes::copy_from_slice(body.as_bytes())).to_bytes()
}

#[test]
fn a_fingerprint_is_of_what_json_means() {
    let one = r#"{"id":1,"buyer":{"a":[1,2.50],"b":"é\n"},"c":null}"#;
    for same in [
        r#"{"buyer":{"b":"é\n","a":[1,2.50]},"c":null,"id":1}"#,
        "\u{feff} {\n\t\"id\" : 1 , \"c\":null,\r \"buyer\":{ \"a\":[ 1 , 2.50 ] ,\"b\":\"\\u00e9\\u000a\"} } ",
    ] {
        assert_eq!(digest(same), digest(one), "{same}");
    }
    let others = [
        r#"{"id":1,"buyer":{"a":[2.50,1],"b":"é\n"},"c":null}"#,
        r#"{"id":1,"buyer":{"a":[1,2.5],"b":"é\n"},"c":null}"#,
        r#"{"id":1,"buyer":{"a":[1,2.50],"b":"é"},"c":null}"#,
        r#"{"id":1,"buyer":{"a":[1,2.50],"b":"é\n"}}"#,
        r#"{"id":"1","buyer":{"a":[1,2.50],"b":"é\n"},"c":null}"#,
        r#"{"id":1,"buyer":{"a":[1,2.50],"b":"é\n","c":null}}"#,
    ];
    for other in others {
        assert_ne!(digest(other), digest(one), "{other}");
    }
    // Amounts that no f64 tells apart.
    assert_ne!(digest("12345678901234567890123"), digest("12345678901234567890124"));
    assert_ne!(digest(r#"{"id":1,"id":2}"#), digest(r#"{"id":2,"id":1}"#));
}

#[test]
fn a_canonical_form_is_json_by_name_without_whitespace() {
    let form = |body: &str| canonical::form(body.as_bytes()).map(|form| String::from_utf8(form).unwrap());
    let body =
        r#" { "b" : [ ] , "a\u0041" : { "y" : -1.0e+5 , "x" : "\/\"\\\u20ac" } , "a" : [ true , { } ] } "#;
    let wanted = r#"{"a":[true,{}],"aA":{"x":"/\"\\€","y":-1.0e+5},"b":[]}"#;
    assert_eq!(form(body).as_deref(), Some(wanted));
    assert_eq!(form(wanted).as_deref(), Some(wanted));
    for none in
        ["", " ", "{", "[1", "[1,", r#"{"a"}"#, r#"{"a":}"#, "[1 2]", r#""\ud800""#, r#""open"#, "1 2"]
    {
        assert_eq!(form(none), None, "{none}");
    }
    // Neither panics nor uses up the stack.
    let deep = "[".repeat(100_000);
    assert_eq!(form(&deep), None);
    assert_ne!(digest(&deep), digest(&deep[1..]));
}

/// Records keep fingerprints for days: another value in a new version would make each known key a mismatch.
#[test]
fn fingerprints_are_the_same_in_each_version() {
    let hex = |body| digest(body).map(|byte| format!("{byte:02x}")).concat();
    let values = [r#"{"id":1}"#, r#"{"b":[1.50,"é\n"],"a":null}"#, "[]"].map(hex);
    let wanted = [
        "b740eaf9c9eebfb7273ee74bfb95edc4",
        "a16214f041fcdb2bb8ccce6f4c824a50",
        "39347ff402b6c53d831154110e30ac6a",
    ];
    assert_eq!(values, wanted);
}
