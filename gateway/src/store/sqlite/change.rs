//! What each change does to the tables, and which of them live sessions must hear of.

use muster_protocol::UnixTime;
use muster_protocol::registrar::{DeviceRecord, Reason, Standing};
use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension, Params, params};

use super::apply::Heads;
use super::column::{change_columns, get, integer, record_text};
use super::failure::Failure;
use super::import::{self, Staging};
use crate::audit::AuditEvent;
use crate::store::error::{Refusal, StoreError};
use crate::store::model::{ChangeSeq, Changed, DocumentId, FactoryCa, Operator, Role, RowVersion, Service};
use crate::store::transaction::{Change, NewCertificate, Outcome};

/// The changes of one transaction at work.
pub(super) struct Work<'a> {
    connection: &'a Connection,
    heads: &'a mut Heads,
    /// The devices of the transaction's manifest, when they lie ready.
    staging: Option<Staging>,
}

impl<'a> Work<'a> {
    pub(super) const fn new(connection: &'a Connection, heads: &'a mut Heads, staging: Option<Staging>) -> Self {
        Self { connection, heads, staging }
    }

    pub(super) fn change(&mut self, change: &Change) -> Result<Outcome, Failure> {
        match change {
            Change::InsertDevice(new) => import::insert_device(self.connection, new, None),
            Change::PutDevice { record, expect, at } => self.put_device(record, *expect, *at),
            Change::InsertCertificate(new) => self.insert_certificate(new),
            Change::WithdrawCertificate { serial, reason, at } => {
                self.withdraw("serial = ?1", &[&serial.as_bytes()], *reason, *at, Absent::Refused)
            }
            Change::WithdrawCertificates { role, holder, reason, at } => {
                let key: [&dyn ToSql; 2] = [&holder.as_str(), &role.name()];
                self.withdraw("holder = ?1 AND role = ?2", &key, *reason, *at, Absent::Allowed)
            }
            Change::InsertManifest(row) => import::insert_manifest(self.connection, row),
            Change::Import(shipment) => import::import(self.connection, shipment, self.staging),
            Change::AddFactoryCa(ca) => self.add_factory_ca(ca),
            Change::RemoveFactoryCa(id) => self.remove_factory_ca(*id),
            Change::PutService(service) => self.put_service(service),
            Change::RemoveService(name) => {
                self.remove("DELETE FROM services WHERE name = ?1", &Changed::Service(name.clone()), [name.as_str()])
            }
            Change::PutOperator(operator) => self.put_operator(operator),
            Change::RemoveOperator(name) => {
                self.remove("DELETE FROM operators WHERE name = ?1", &Changed::Operator(name.clone()), [name.as_str()])
            }
            Change::Audit(event) => self.audit(event),
            Change::SetMeta { key, value } => {
                let sql = "INSERT INTO meta (key, value) VALUES (?1, ?2)
                    ON CONFLICT (key) DO UPDATE SET value = excluded.value";
                self.execute(sql, [key, value]).map(|_| Outcome::Done)
            }
            Change::LastSeen { device, at } => {
                let sql = "UPDATE devices SET last_seen_at = ?2
                    WHERE id = ?1 AND (last_seen_at IS NULL OR last_seen_at < ?2)";
                self.execute(sql, params![device.as_str(), integer(at.0)]).map(done_or_there)
            }
        }
    }

    fn put_device(&mut self, record: &DeviceRecord, expect: RowVersion, at: UnixTime) -> Result<Outcome, Failure> {
        let stored = self
            .connection
            .prepare_cached("SELECT version, record FROM registered WHERE id = ?1")?
            .query_row([record.device.as_str()], |row| Ok((get::<u64>(row, 0)?, get::<DeviceRecord>(row, 1)?)))
            .optional()?;
        let Some((version, stored)) = stored else { return Err(Refusal::NoDevice(record.device.clone()).into()) };
        if version != expect.0 {
            return Err(StoreError::Conflict.into());
        }
        let taken = "SELECT 1 FROM devices WHERE idevid = ?1 AND id <> ?2";
        if stored.idevid != record.idevid
            && self.exists(taken, params![&record.idevid.0[..], record.device.as_str()])?
        {
            return Err(Refusal::DeviceConflict(record.device.clone()).into());
        }
        let sql = "UPDATE devices SET idevid = ?2, standing = ?3, expires_at = ?4, record = ?5, updated_at = ?6,
            version = ?7 WHERE id = ?1";
        let next = version + 1;
        let values = params![
            record.device.as_str(),
            &record.idevid.0[..],
            record.standing.name(),
            expires_at(record).map(|at| integer(at.0)),
            record_text(record)?,
            integer(at.0),
            integer(next),
        ];
        self.execute(sql, values)?;
        if sessions_must_hear(&stored, record) {
            self.announce(&Changed::Device(record.device.clone()))?;
        }
        Ok(Outcome::Written(RowVersion(next)))
    }

    fn insert_certificate(&self, new: &NewCertificate) -> Result<Outcome, Failure> {
        if self.exists("SELECT 1 FROM devices WHERE idevid = ?1", [&new.key.0[..]])? {
            return Err(Refusal::KeyTaken.into());
        }
        if new.role == Role::Device && self.exists(import::STAGED, [new.holder.as_str()])? {
            return Err(Refusal::NoDevice(new.holder.clone()).into());
        }
        let sql = "INSERT INTO certificates
            (serial, key, role, holder, device, der, not_before, not_after, issued_at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING";
        let values = params![
            new.serial.as_bytes(),
            &new.key.0[..],
            new.role.name(),
            new.holder.as_str(),
            (new.role == Role::Device).then(|| new.holder.as_str()),
            new.der,
            integer(new.not_before.0),
            integer(new.not_after.0),
            integer(new.issued_at.0),
        ];
        let no_device = || Refusal::NoDevice(new.holder.clone());
        match self.execute(sql, values).map_err(|failure| failure.or_foreign_key(no_device()))? {
            0 if self.exists("SELECT 1 FROM certificates WHERE key = ?1", [&new.key.0[..]])? => {
                Err(Refusal::KeyTaken.into())
            }
            0 => Err(Refusal::SerialTaken.into()),
            _ => Ok(Outcome::Done),
        }
    }

    fn withdraw(
        &mut self,
        which: &str,
        key: &[&dyn ToSql],
        reason: Reason,
        at: UnixTime,
        absent: Absent,
    ) -> Result<Outcome, Failure> {
        let sql =
            format!("SELECT number, serial, role, holder, withdrawn_at IS NOT NULL FROM certificates WHERE {which}");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let found = statement
            .query_map(key, |row| {
                let serial = get(row, 1)?;
                let (role, holder) = (get(row, 2)?, get(row, 3)?);
                Ok((row.get::<_, i64>(0)?, Changed::Certificate { serial, role, holder }, row.get::<_, bool>(4)?))
            })?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        if found.is_empty() && absent == Absent::Refused {
            return Err(Refusal::NoCertificate.into());
        }
        let mut outcome = Outcome::AlreadyThere;
        for (number, changed, withdrawn) in found {
            if !withdrawn {
                let sql = "UPDATE certificates SET withdrawn_at = ?2, reason = ?3 WHERE number = ?1";
                self.execute(sql, params![number, integer(at.0), reason.name()])?;
                self.announce(&changed)?;
                outcome = Outcome::Done;
            }
        }
        Ok(outcome)
    }

    fn add_factory_ca(&mut self, ca: &FactoryCa) -> Result<Outcome, Failure> {
        let sql = "INSERT INTO factory_cas (id, key, subject, der, not_after, added_at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";
        let (not_after, added_at) = (integer(ca.not_after.0), integer(ca.added_at.0));
        let outcome = self
            .execute(sql, params![&ca.id.0[..], &ca.key.0[..], ca.subject, ca.der, not_after, added_at])
            .map(done_or_there)?;
        if outcome == Outcome::Done {
            self.announce(&Changed::FactoryCas)?;
        }
        Ok(outcome)
    }

    fn remove_factory_ca(&mut self, id: DocumentId) -> Result<Outcome, Failure> {
        self.remove("DELETE FROM factory_cas WHERE id = ?1", &Changed::FactoryCas, [&id.0[..]])
    }

    fn put_service(&mut self, service: &Service) -> Result<Outcome, Failure> {
        let sql = "INSERT INTO services (name, publish, subscribe, any_client_id, updated_at)
            VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (name) DO UPDATE SET publish = excluded.publish,
            subscribe = excluded.subscribe, any_client_id = excluded.any_client_id, updated_at = excluded.updated_at";
        let (publish, subscribe) =
            (serde_json::to_string(&service.publish)?, serde_json::to_string(&service.subscribe)?);
        let at = integer(service.updated_at.0);
        self.execute(sql, params![service.name.as_str(), publish, subscribe, service.any_client_id, at])?;
        self.announce(&Changed::Service(service.name.clone()))?;
        Ok(Outcome::Done)
    }

    fn put_operator(&mut self, operator: &Operator) -> Result<Outcome, Failure> {
        let sql = "INSERT INTO operators (name, role, serial, updated_at) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (name) DO UPDATE SET role = excluded.role, serial = excluded.serial,
            updated_at = excluded.updated_at";
        let (name, role) = (operator.name.as_str(), operator.role.name());
        self.execute(sql, params![name, role, operator.serial.as_bytes(), integer(operator.updated_at.0)])?;
        self.announce(&Changed::Operator(operator.name.clone()))?;
        Ok(Outcome::Done)
    }

    fn audit(&mut self, event: &AuditEvent) -> Result<Outcome, Failure> {
        let body = event.to_body()?;
        let head = self.heads.audit.after(&body);
        let sql = "INSERT INTO audit (seq, body, hash) VALUES (?1, ?2, ?3)";
        self.execute(sql, params![integer(head.seq), body, &head.hash.0[..]])?;
        self.heads.audit = head;
        Ok(Outcome::Done)
    }

    fn remove(&mut self, sql: &str, changed: &Changed, key: impl Params) -> Result<Outcome, Failure> {
        let outcome = self.execute(sql, key).map(done_or_there)?;
        if outcome == Outcome::Done {
            self.announce(changed)?;
        }
        Ok(outcome)
    }

    /// Puts a change on the list that live sessions follow.
    fn announce(&mut self, changed: &Changed) -> Result<(), Failure> {
        let seq = ChangeSeq(self.heads.change.0 + 1);
        let (kind, name, role, serial) = change_columns(changed);
        let sql = "INSERT INTO changes (seq, kind, name, role, serial) VALUES (?1, ?2, ?3, ?4, ?5)";
        self.execute(sql, params![integer(seq.0), kind, name, role, serial])?;
        self.heads.change = seq;
        Ok(())
    }

    fn execute(&self, sql: &str, values: impl Params) -> Result<usize, Failure> {
        Ok(self.connection.prepare_cached(sql)?.execute(values)?)
    }

    fn exists(&self, sql: &str, values: impl Params) -> Result<bool, Failure> {
        Ok(self.connection.prepare_cached(sql)?.exists(values)?)
    }
}

/// What it means that there is nothing to withdraw.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Absent {
    Refused,
    Allowed,
}

const fn done_or_there(rows: usize) -> Outcome {
    if rows == 0 { Outcome::AlreadyThere } else { Outcome::Done }
}

/// When the device falls out of the fleet unless it renews; nothing for one that is kept out for other reasons.
fn expires_at(record: &DeviceRecord) -> Option<UnixTime> {
    match record.standing {
        Standing::Revoked | Standing::Retired => None,
        _ => record.current.as_ref().map(|credential| credential.not_after),
    }
}

/// Ordinary enrolment and rotation do not touch the list: its counter is one row that every writer would wait for.
fn sessions_must_hear(old: &DeviceRecord, new: &DeviceRecord) -> bool {
    old.kept_out() != new.kept_out() || old.orders != new.orders
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use muster_protocol::DeviceId;
    use muster_protocol::pki::key::KeyFingerprint;

    use super::*;

    #[test]
    fn sessions_hear_of_what_concerns_them() {
        let active = DeviceRecord {
            standing: Standing::Active,
            ..DeviceRecord::expected(DeviceId::new("d").unwrap(), KeyFingerprint([1; 32]))
        };
        let with = |standing| DeviceRecord { standing, ..active.clone() };
        for standing in [Standing::Suspended, Standing::Revoked, Standing::Retired] {
            assert!(sessions_must_hear(&active, &with(standing)), "{standing:?}");
            assert!(sessions_must_hear(&with(standing), &active), "{standing:?}");
        }
        assert!(sessions_must_hear(&with(Standing::Suspended), &with(Standing::Revoked)));
        assert!(sessions_must_hear(&active, &DeviceRecord { orders: 1, ..active.clone() }));
        assert!(!sessions_must_hear(&active, &with(Standing::Rotating)));
        assert!(!sessions_must_hear(&with(Standing::Expected), &with(Standing::Claimed)));
    }
}
