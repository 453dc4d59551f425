//! Small traces by hand.

use super::*;

const NAMES: &str = r#"{"ph":"M","name":"process_name","pid":1,"args":{"name":"host worker-10"}},
{"ph":"M","name":"process_name","pid":2,"args":{"name":"host worker-9"}},
{"ph":"M","name":"process_name","pid":3,"args":{"name":"service queue"}},
{"ph":"M","name":"process_sort_index","pid":3,"args":{"sort_index":-1}},
{"ph":"M","name":"thread_name","pid":1,"tid":7,"args":{"name":"work items"}}"#;

fn view(events: &str, window: Option<&str>, most: usize) -> Result<SpaceTime, ReportError> {
    let text = format!("{{\"traceEvents\":[{NAMES},{events}]}}");
    let trace = Trace::parse(text.as_bytes()).expect("a trace");
    let window = window.map(|text| text.parse().expect("a window"));
    trace.view(Path::new("trace.json"), window, 2_000_000_000, most)
}

const MESSAGE: &str = r#"{"ph":"X","ts":2000000.5,"dur":10,"pid":2,"tid":1,"cat":"step","name":"step"},
{"ph":"s","ts":2000005,"pid":2,"tid":1,"id":4,"cat":"message","name":"task"},
{"ph":"f","ts":2000105.25,"pid":1,"tid":7,"id":4,"cat":"message","name":"task","bp":"e"},
{"ph":"X","ts":2000100,"dur":50,"pid":1,"tid":7,"cat":"task","name":"SayHello","args":{"messages":[1,{"a":2}]}}"#;

#[test]
fn messages_go_from_lane_to_lane() {
    let view = view(MESSAGE, None, 100).expect("a view");
    let lanes: Vec<&str> = view.lanes.iter().map(|lane| lane.process.as_str()).collect();
    // By sort index, then as people count.
    assert_eq!(lanes, ["host worker-9", "host worker-10"]);
    assert_eq!(view.lanes[1].thread, "work items");
    let arrow = Arrow {
        from: 0,
        sent: 2_000_005_000,
        to: 1,
        arrived: 2_000_105_250,
        name: "task".to_owned(),
    };
    assert_eq!(view.arrows, [arrow]);
    assert_eq!((view.spans[0].at, view.spans[0].lasting), (2_000_000_500, 10_000));
    // The first message after the start of the load, though a span began before.
    assert_eq!((view.from, view.to, view.left_out), (2_000_005_000, 2_000_150_000, 0));
}

#[test]
fn a_step_of_a_flow_ends_one_message_and_begins_the_next() {
    let steps = r#"{"ph":"s","ts":1,"pid":1,"tid":7,"id":"a","cat":"m","name":"ask"},
{"ph":"t","ts":2,"pid":3,"tid":0,"id":"a","cat":"m","name":"answer"},
{"ph":"f","ts":3,"pid":1,"tid":7,"id":"a","cat":"m","name":"answer"},
{"ph":"f","ts":4,"pid":1,"tid":7,"id":"never sent","cat":"m","name":"answer"}"#;
    let view = view(steps, None, 100).expect("a view");
    let between: Vec<(usize, usize)> =
        view.arrows.iter().map(|arrow| (arrow.from, arrow.to)).collect();
    assert_eq!(view.lanes[0].process, "service queue");
    assert_eq!(between, [(1, 0), (0, 1)]);
}

#[test]
fn a_fault_begins_the_window_and_knows_whom_it_concerns() {
    let faults = r#"{"ph":"X","ts":3000000,"dur":5,"pid":2,"tid":1,"cat":"fault","name":"crash"},
{"ph":"i","ts":3000001,"pid":9,"tid":0,"cat":"fault","name":"cut","s":"g"},
{"ph":"M","name":"process_name","pid":9,"args":{"name":"faults"}}"#;
    let view = view(&format!("{MESSAGE},{faults}"), None, 100).expect("a view");
    assert_eq!(view.from, 3_000_000_000 - LEAD_NANOS);
    let of: Vec<(Option<usize>, u64)> =
        view.faults.iter().map(|fault| (fault.lane, fault.lasting)).collect();
    assert_eq!(of, [(Some(0), 5_000), (None, 0)]);
}

#[test]
fn a_window_is_cut_where_there_is_no_more_room() {
    let span = |n: u32| format!(r#"{{"ph":"X","ts":{n},"dur":1,"pid":1,"tid":7,"name":"x"}}"#);
    let spans = (1..=10).map(span).collect::<Vec<_>>().join(",");
    let view = view(&spans, Some("..1s"), 4).expect("a view");
    assert_eq!((view.spans.len(), view.left_out, view.to), (4, 6, 5_000));
}

#[test]
fn a_window_without_events_is_refused_with_where_there_are_some() {
    let error = view(MESSAGE, Some("1m..2m"), 100).expect_err("nothing there").to_string();
    assert_eq!(error, "trace.json: nothing happens in 1m..2m; its events are from 2s to 2000150us");
}

#[test]
fn damaged_traces_are_refused() {
    for (text, expected) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("{}", "missing field `traceEvents` at line 1 column 2"),
        ("[{\"ph\":\"X\"", "EOF while parsing an object at line 1 column 10"),
        ("[{\"ph\":\"X\",\"ts\":-1}]", "an event has a time or a duration below 0"),
    ] {
        let error = Trace::parse(text.as_bytes()).err().expect(text);
        assert_eq!(error, expected);
    }
    let trace = Trace::parse(b"[]").expect("no events");
    let error = trace.view(Path::new("t"), None, 0, 10).expect_err("empty").to_string();
    assert_eq!(error, "t: has no events that happen at any time");
}

#[test]
fn both_forms_are_read() {
    let list = Trace::parse(b" [{\"ph\":\"i\",\"ts\":1,\"name\":\"x\"}]").expect("a list");
    assert_eq!((list.events.len(), list.cut_at), (1, None));
    let cut = br#"{"traceEvents":[],"otherData":{"engine":"netherite","cut_at_us":7}}"#;
    assert_eq!(Trace::parse(cut).expect("an object").cut_at, Some(7_000));
}
