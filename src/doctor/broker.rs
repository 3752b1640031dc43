//! What the broker is asked. Nothing is declared that is not there, and no message is taken.

use super::ask::Judged;
use super::check::{Finding, Name};
use super::examine::Examination;
use super::verdict::{self, Depths};
use crate::broker::{BrokerError, Declared, Depth, Examined};

impl Examination<'_> {
    async fn examined(&self) -> Result<&[Examined], Finding> {
        let queues = self.queues_there()?;
        let asked = self.examined.get_or_init(|| queues.session.examine(&queues.topology)).await;
        asked.as_ref().map(Vec::as_slice).map_err(verdict::broker_error)
    }

    async fn tried_rights(&self) -> Result<&Result<Vec<String>, BrokerError>, Finding> {
        let queues = self.queues_there()?;
        let examined = self.examined().await?;
        let there: Vec<&str> = examined
            .iter()
            .filter(|found| found.is != Declared::Missing)
            .map(|found| found.name.as_str())
            .collect();
        let asked = || queues.session.try_rights(&queues.topology, &there);
        Ok(self.broker_rights.get_or_init(asked).await)
    }

    pub(super) async fn broker_topology(&self) -> Judged {
        Ok(verdict::broker_topology(self.examined().await?))
    }

    pub(super) async fn broker_rights(&self) -> Judged {
        let examined = self.examined().await?;
        match self.tried_rights().await? {
            Ok(lacking) => Ok(verdict::broker_rights(examined, lacking)),
            Err(BrokerError::Blocked(_)) => Ok(verdict::broker_rights_blocked(examined)),
            Err(error) => Err(verdict::broker_error(error)),
        }
    }

    pub(super) async fn broker_alarm(&self) -> Judged {
        match self.tried_rights().await? {
            Ok(lacking) if lacking.is_empty() => {
                Ok(Finding::ok("the broker takes messages: no memory or disk alarm"))
            }
            Ok(_) => {
                let cause = "the broker's user lacks a permission: publishing may not have been tried";
                Err(Finding::unchecked(cause, Name::BrokerRights))
            }
            Err(BrokerError::Blocked(why)) => Ok(verdict::broker_alarm(why)),
            Err(error) => Err(verdict::broker_error(error)),
        }
    }

    pub(super) fn broker_policies(&self) -> Judged {
        self.queues_there()?;
        Ok(verdict::broker_policies())
    }

    pub(super) async fn queues(&self) -> Judged {
        let topology = &self.queues_there()?.topology;
        let work = self.depth(&topology.work()).await?;
        let mut waiting = 0;
        for delay in &topology.delays {
            waiting += self.depth(&topology.wait(delay)).await?.map_or(0, |depth| depth.messages);
        }
        Ok(verdict::queues(work.map(|work| Depths { work, waiting })))
    }

    pub(super) async fn dead_letters(&self) -> Judged {
        let dead = self.depth(&self.queues_there()?.topology.dead()).await?;
        Ok(verdict::dead_letters(dead.map(|depth| depth.messages)))
    }

    async fn depth(&self, queue: &str) -> Result<Option<Depth>, Finding> {
        let asked = self.queues_there()?.session.depth(queue).await;
        asked.map_err(|error| verdict::broker_error(&error))
    }
}
