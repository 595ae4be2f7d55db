//! A dependency on idem by another name.

#[test]
fn the_macros_find_idem_by_the_name_that_they_are_told() {
    let handlers = idem_ui_renamed::handlers();
    assert!(handlers[0].contains("idem_ui_renamed::pay"), "{handlers:?}");
    assert!(handlers[1].contains("idem_ui_renamed::index"), "{handlers:?}");
    assert_eq!(idem_ui_renamed::body(7).expect("it is right"), r#"{"id":7}"#);
}
