//! Series, and changes of series, that make no sense.

use axum::http::StatusCode;
use serde_json::json;

use super::Fixture;

#[tokio::test(start_paused = true)]
async fn changes_of_a_rule_that_make_no_sense_are_refused() {
    let fixture = Fixture::new().await;
    let series = fixture.series("FREQ=DAILY").await;
    let over = fixture.series("FREQ=DAILY").await;
    fixture.ask(over, "cancel").await;
    let plain = fixture.client.create(&json!({"messageName": "b"})).await;
    let daily = json!({"recurrencePattern": "FREQ=DAILY"});
    let cases = [
        (plain, daily.clone(), 422, "CannotUpdateNonrecurring"),
        (
            plain,
            json!({"recurrenceStartTime": "2027-01-01T00:00:00Z"}),
            422,
            "CannotUpdateNonrecurring",
        ),
        (over, daily, 409, "CannotUpdateRecurring"),
        (
            series,
            json!({"recurrencePattern": "FREQ=DAILY", "stateCode": 1}),
            422,
            "CannotUpdateRecurring",
        ),
        (
            series,
            json!({"recurrencePattern": "FREQ=DAILY", "name": "n"}),
            422,
            "AttributeIsReadOnly",
        ),
        (
            series,
            json!({"recurrencePattern": ""}),
            422,
            "InvalidArgument",
        ),
        (
            series,
            json!({"recurrencePattern": null}),
            422,
            "InvalidArgument",
        ),
        (
            series,
            json!({"recurrenceStartTime": null}),
            422,
            "InvalidArgument",
        ),
        (
            series,
            json!({"recurrencePattern": "FREQ=OFTEN"}),
            422,
            "InvalidArgument",
        ),
        (
            series,
            json!({"recurrenceTimeZone": "Mars/Olympus"}),
            422,
            "InvalidArgument",
        ),
        (
            series,
            json!({"recurrenceTimeZone": null}),
            422,
            "InvalidArgument",
        ),
        (
            plain,
            json!({"recurrenceTimeZone": "Europe/Berlin"}),
            422,
            "CannotUpdateNonrecurring",
        ),
        (
            series,
            json!({"recurrencePattern": "FREQ=DAILY;UNTIL=20200101"}),
            422,
            "InvalidArgument",
        ),
    ];
    for (id, body, status, name) in cases {
        let (answered, problem) = fixture.patch(id, &body).await;
        assert_eq!(answered.as_u16(), status, "{body}: {problem}");
        assert_eq!(problem["name"], json!(name), "{body}: {problem}");
        if status == 422 {
            let attribute = problem["attributes"][0]["name"].as_str().expect("a name");
            assert!(body.get(attribute).is_some(), "{body}: {problem}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn series_that_make_no_sense_are_refused() {
    let fixture = Fixture::new().await;
    let cases = [
        (
            json!({"recurrenceStartTime": "2027-01-01T00:00:00Z"}),
            "recurrenceStartTime",
        ),
        (
            json!({"recurrencePattern": "FREQ=OFTEN"}),
            "recurrencePattern",
        ),
        (
            json!({"recurrencePattern": "x".repeat(257)}),
            "recurrencePattern",
        ),
        (
            json!({"recurrencePattern": "FREQ=YEARLY;BYMONTHDAY=31;BYMONTH=2"}),
            "recurrencePattern",
        ),
        (
            json!({"recurrencePattern": "FREQ=DAILY", "recurrenceStartTime": "1969-01-01T00:00:00Z"}),
            "recurrenceStartTime",
        ),
        (
            json!({"recurrencePattern": "FREQ=DAILY;COUNT=3", "recurrenceStartTime": "2020-01-01T00:00:00Z"}),
            "recurrencePattern",
        ),
        (
            json!({"recurrencePattern": "FREQ=DAILY", "postponeUntil": "2027-01-01T00:00:00Z"}),
            "postponeUntil",
        ),
    ];
    for (mut body, attribute) in cases {
        body["messageName"] = json!("a");
        let answer = fixture.client.post("/v1/operations", &body).await;
        assert_eq!(
            answer.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{answer:?}"
        );
        assert_eq!(
            answer.json["attributes"][0]["name"],
            json!(attribute),
            "{answer:?}"
        );
    }
    let body = json!({"messageName": "a", "recurrencePattern": ""});
    let id = fixture.client.create(&body).await;
    assert_eq!(fixture.client.status(id).await, "WaitingForResources");
}
