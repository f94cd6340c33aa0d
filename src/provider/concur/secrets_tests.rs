//! What is read of answers whose form SAP does not publish.

use super::*;

#[test]
fn a_new_secret_is_found_under_each_name_it_may_have_and_missed_loudly() {
    for name in VALUE_MEMBERS {
        let body = Zeroizing::new(json!({ "id": "7", name: "canary" }).to_string().into_bytes());
        match created(&body).unwrap() {
            Managed::Created { id, value } => assert_eq!((&*id, value.0.expose()), ("7", "canary"), "{name}"),
            other @ (Managed::Done | Managed::Listed(_)) => panic!("{name}: {other:?}"),
        }
        assert!(!format!("{:?}", created(&body)).contains("canary"));
    }
    let cases = [
        (json!({ "id": "7", "token": "x" }), "has none in it"),
        (json!({ "id": "7", "secret": "" }), "has none in it"),
        (json!({ "secret": "x" }), "has no id"),
        (json!([]), "not a JSON object"),
    ];
    for (body, want) in cases {
        let failure = created(&Zeroizing::new(body.to_string().into_bytes())).unwrap_err();
        assert!(failure.detail.contains(want), "{body}: {}", failure.detail);
        assert_eq!(failure.class, Class::Malformed);
    }
}

#[test]
fn a_list_is_read_whatever_the_case_of_its_words() {
    let body = json!([{ "id": "a", "status": "Active" }, { "id": "b", "status": "inactive" }]).to_string();
    let want = [("a", Status::Active), ("b", Status::Inactive)];
    let read: Vec<_> = listed(body.as_bytes()).unwrap().into_iter().map(|one| (one.id, one.status)).collect();
    assert_eq!(read, want.map(|(id, status)| (id.to_owned(), status)));
    for wrong in ["{}", "[{\"id\":\"a\"}]", "[{\"status\":\"active\"}]", "nothing"] {
        assert_eq!(listed(wrong.as_bytes()).unwrap_err().class, Class::Malformed, "{wrong}");
    }
}
