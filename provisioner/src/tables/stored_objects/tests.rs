//! What is removed from statements, and in which order views are created.

use super::definer::without_definer;
use super::read::in_order;
use super::*;

fn view(name: &str, statement: &str) -> StoredObject {
    StoredObject {
        kind: "VIEW".into(),
        name: name.into(),
        statement: statement.into(),
        sql_mode: None,
        collation: "utf8mb4_unicode_ci".into(),
        database_collation: None,
        time_zone: None,
        definer: None,
    }
}

#[test]
fn only_the_definer_in_the_head_is_removed() {
    for (with, without, definer) in [
        (
            "CREATE ALGORITHM=UNDEFINED DEFINER=`ro``ot`@`local host` SQL SECURITY DEFINER \
             VIEW `v` AS select ' DEFINER=`a`@`b`'",
            "CREATE ALGORITHM=UNDEFINED SQL SECURITY DEFINER VIEW `v` AS select ' DEFINER=`a`@`b`'",
            Some("`ro``ot`@`local host`"),
        ),
        ("CREATE DEFINER=\"a\"@\"%\" PROCEDURE \"p\"() x", "CREATE PROCEDURE \"p\"() x", Some("\"a\"@\"%\"")),
        ("CREATE DEFINER=`role` FUNCTION `f`()", "CREATE FUNCTION `f`()", Some("`role`")),
        ("CREATE VIEW `v` AS select ' DEFINER=`x`'", "CREATE VIEW `v` AS select ' DEFINER=`x`'", None),
    ] {
        assert_eq!(without_definer(with), (without.to_owned(), definer.map(str::to_owned)));
    }
}

#[test]
fn views_come_after_the_views_they_name() {
    let mut views = vec![view("a", "select from `b`"), view("b", "select from `c`"), view("c", "select `x` from `t`")];
    in_order(&mut views);
    let names: Vec<_> = views.iter().map(|view| view.name.as_str()).collect();
    assert_eq!(names, ["c", "b", "a"]);
    let mut round = vec![view("a", "`b`"), view("b", "`a`")];
    in_order(&mut round);
    assert_eq!(round.len(), 2);
}

#[test]
fn another_tenants_database_is_found_in_a_text() {
    let own = "ai_shifu_tenant_acme";
    let of = |statement: &str| view("v", statement).other_tenants_database(own);
    assert_eq!(of("select from `ai_shifu_tenant_acme`.`t`, t2"), None);
    assert_eq!(of("select from AI_shifu_tenant_beta.t").as_deref(), Some("ai_shifu_tenant_beta"));
    assert_eq!(of("select from `ai_shifu_tenant_acme-2`.`t`").as_deref(), Some("ai_shifu_tenant_acme-2"));
}

#[test]
fn only_an_event_that_is_not_preserved_may_be_gone() {
    let event = |name: &str, statement: &str| StoredObject { kind: "EVENT".into(), ..view(name, statement) };
    let at = |end: &str| format!("CREATE EVENT `e` ON SCHEDULE AT '2035-01-01 00:00:00' {end} DO SELECT ' ENDS '");
    assert!(event("e", &at("ON COMPLETION NOT PRESERVE ENABLE")).may_be_gone());
    assert!(!event("e", &at("ON COMPLETION PRESERVE ENABLE")).may_be_gone());
    let every = |more: &str| {
        format!("CREATE EVENT `x ENDS y` ON SCHEDULE EVERY 1 DAY STARTS 'a'{more} ON COMPLETION NOT PRESERVE")
    };
    assert!(event("x ENDS y", &every(" ENDS 'b'")).may_be_gone());
    assert!(!event("x ENDS y", &every("")).may_be_gone());
}
