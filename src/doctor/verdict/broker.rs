//! The broker, its queues, and what this user may do.

use crate::broker::{BrokerError, Declared, Depth, Examined, Greeting};
use crate::doctor::check::{Finding, Name};

/// The oldest RabbitMQ that is supported.
const OLDEST: (u32, u32) = (3, 10);
const GRANT: &str = "apply deploy/rights/broker.sh (docs/rights.md), and restart what runs";

/// What is in the queues of work.
#[derive(Clone, Copy, Debug)]
pub(in crate::doctor) struct Depths {
    pub(in crate::doctor) work: Depth,
    pub(in crate::doctor) waiting: u64,
}

pub(in crate::doctor) fn broker_connection(greeting: Result<&Greeting, &BrokerError>) -> Finding {
    let greeting = match greeting {
        Ok(greeting) => greeting,
        Err(error) => {
            return Finding::warn(
                format!("connected, but its version is not known: {error}"),
                "run `file-recycler doctor` again",
            );
        }
    };
    let Greeting { product, version } = greeting;
    let told = format!("{product} {version}");
    let mut numbers = version.split(['.', '-', '+']).map(|number| number.parse::<u32>().ok());
    let number = numbers.next().flatten().zip(numbers.next().flatten());
    match number {
        Some(number) if product == "RabbitMQ" && number >= OLDEST => Finding::ok(told),
        Some(_) if product == "RabbitMQ" => Finding::fail(
            format!("{told} is older than {}.{}, the oldest that is supported", OLDEST.0, OLDEST.1),
            "upgrade the broker: older ones lose messages between wait queues and the work queue",
        ),
        _ => Finding::warn(format!("{told} is no broker that was tried"), "use RabbitMQ 3.10 or newer"),
    }
}

pub(in crate::doctor) fn broker_away(error: &str) -> Finding {
    Finding::fail(
        error,
        "start the broker, or correct broker.url (`file-recycler config show --sources` says where it was set); events \
         wait in the outbox meanwhile",
    )
}

pub(in crate::doctor) fn broker_error(error: &BrokerError) -> Finding {
    Finding::fail(error.to_string(), "look at the broker's log; run `file-recycler doctor` again")
}

/// What is there must be what we would declare; what is missing is declared by `run`.
pub(in crate::doctor) fn broker_topology(found: &[Examined]) -> Finding {
    let differs: Vec<&str> = found
        .iter()
        .filter_map(|found| match &found.is {
            Declared::Differs(why) => Some(why.as_str()),
            Declared::Fits | Declared::Missing | Declared::Refused(_) => None,
        })
        .collect();
    if !differs.is_empty() {
        return Finding::fail(
            differs.join("; "),
            "until it is put right nothing is published or consumed; see docs/doctor.md#broker-topology",
        );
    }
    let missing: Vec<&str> = names(found, |is| *is == Declared::Missing);
    if missing.len() == found.len() {
        return Finding::warn(
            "no exchange and no queue is declared yet",
            "start `file-recycler run`: it declares them",
        );
    }
    if !missing.is_empty() {
        return Finding::fail(
            format!("{} is missing: somebody has removed it, or retry.delays is new", missing.join(", ")),
            "start (or restart) `file-recycler run`: it declares what is missing",
        );
    }
    if found.iter().any(|found| matches!(found.is, Declared::Refused(_))) {
        return Finding::unchecked("the broker's user may not declare them", Name::BrokerRights);
    }
    Finding::ok(
        "the exchange and every queue are as they must be; bindings are shown to no client, and each publication checks \
         them",
    )
}

pub(in crate::doctor) fn broker_rights(found: &[Examined], lacking: &[String]) -> Finding {
    let mut told = refusals(found);
    told.extend(lacking.iter().map(String::as_str));
    if told.is_empty() {
        let missing = found.iter().any(|found| found.is == Declared::Missing);
        return Finding::ok(if missing {
            "nothing was refused, as far as it can be tried before everything is declared"
        } else {
            "nothing was refused"
        });
    }
    Finding::fail(told.join("; "), GRANT)
}

/// The broker takes no messages: whether this user may publish could not be tried.
pub(in crate::doctor) fn broker_rights_blocked(found: &[Examined]) -> Finding {
    let told = refusals(found);
    if told.is_empty() {
        return Finding::unchecked("the broker takes no messages at present", Name::BrokerAlarm);
    }
    Finding::fail(told.join("; "), GRANT)
}

fn refusals(found: &[Examined]) -> Vec<&str> {
    found
        .iter()
        .filter_map(|found| match &found.is {
            Declared::Refused(why) => Some(why.as_str()),
            Declared::Fits | Declared::Missing | Declared::Differs(_) => None,
        })
        .collect()
}

fn names(found: &[Examined], which: impl Fn(&Declared) -> bool) -> Vec<&str> {
    found.iter().filter(|found| which(&found.is)).map(|found| found.name.as_str()).collect()
}

pub(in crate::doctor) fn broker_alarm(why: &str) -> Finding {
    Finding::fail(
        format!("the broker takes no messages at present: {why}"),
        "give it memory or disk (`rabbitmqctl status` shows the alarm); events wait in the outbox, consuming goes on",
    )
}

pub(in crate::doctor) fn broker_policies() -> Finding {
    Finding::ok(
        "not visible to a client: a policy with max-length, message-ttl or expires on these queues could drop messages. \
         Compare `rabbitmqctl list_policies` with the guide",
    )
}

pub(in crate::doctor) fn queues(depths: Option<Depths>) -> Finding {
    let Some(Depths { work, waiting }) = depths else {
        return Finding::ok("the work queue is not declared yet: nothing waits there");
    };
    let told = format!("{} events wait for a worker, {waiting} for their next try", work.messages);
    if work.messages > 0 && work.consumers == 0 {
        return Finding::warn(
            format!("{told}; no worker consumes the work queue"),
            "start `file-recycler run` or `work`; if one runs, its /readyz says what holds it up",
        );
    }
    Finding::ok(format!("{told}; {} workers consume", work.consumers))
}

pub(in crate::doctor) fn dead_letters(messages: Option<u64>) -> Finding {
    match messages {
        None => Finding::ok("the dead-letter queue is not declared yet"),
        Some(0) => Finding::ok("there are none"),
        Some(messages) => Finding::warn(
            format!("{messages} messages could not be done: their files stay where they are"),
            "run `file-recycler dlq list`: it says why; after the repair `dlq replay`",
        ),
    }
}
