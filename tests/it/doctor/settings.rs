//! How the CRM itself is set, and what a role may read of it.

use tokio::process::Command;

use super::{doctor, still};
use crate::support::crm::DATABASE_STORAGE;
use crate::support::process;
use crate::support::roles::Roles;
use crate::support::world::{S3, World, bare_world};

#[tokio::test]
async fn what_the_crm_is_set_to_is_explained() {
    still(S3::Embedded, async |world| {
        let said = doctor(world, &[]).await;
        let off = "(UseBaseEntityFileDeleteListener) is off (or on for some users only): what it does not move is left to \
                   file-recycler; the CRM puts new files into S3_storage: file-recycler moves them once they are deleted";
        said.check("crm-settings", "ok", off);
        world
            .crm
            .sql(format!(
                r#"UPDATE "Feature" SET "DefaultState" = 1;
                   UPDATE "SysSettingsValue" SET "GuidValue" = '{DATABASE_STORAGE}'"#
            ))
            .await;
        let said = doctor(world, &[]).await;
        let on = "is on: files that it has moved itself count as already moved";
        let advice = said.check("crm-settings", "warn", on);
        assert!(advice.contains("crm.storage_codes"), "{advice}");
        said.check("crm-settings", "warn", "into Database, which is not among crm.storage_codes");

        world.crm.sql(r#"DROP TABLE "AdminUnitFeatureState", "SysSettingsValue""#).await;
        let said = doctor(world, &[]).await;
        said.only(&[], &["processes"]);
        let unknown = "unknown, since this version of the CRM does not tell";
        said.check("crm-settings", "ok", &format!("is {unknown}: either way is served"));
        said.check("crm-settings", "ok", &format!("(ActiveFileContentStorage) is {unknown}: nothing rests on it"));
    })
    .await;
}

#[tokio::test]
async fn with_exactly_its_rights_the_role_reads_them_and_each_that_is_missing_is_named() {
    bare_world(S3::Embedded, async |world| {
        let roles = Roles::installed(&world).await;
        let as_run = [("DATABASE__URL", &roles.url_as(&roles.run)[..])];
        let said = doctor(&world, &as_run).await;
        said.check("crm-settings", "ok", "is off");
        said.check("crm-settings", "ok", "the CRM puts new files into S3_storage: file-recycler moves");
        said.check("file-contents", "ok", "new ones go to S3_storage");

        for (right, table, of_the_listener) in [
            (r#"("DefaultState")"#, "Feature", true),
            (r#"("FeatureState")"#, "AdminUnitFeatureState", true),
            (r#"("Code")"#, "SysSettings", false),
            (r#"("GuidValue")"#, "SysSettingsValue", false),
        ] {
            let of = format!(r#"SELECT {right} ON "{table}""#);
            roles.sql(&format!("REVOKE {of} FROM {}", roles.run)).await;
            let said = doctor(&world, &as_run).await;
            let lacks = format!(r#"role {} lacks SELECT {right} on public."{table}""#, roles.run);
            let advice = said.check("crm-settings", "warn", &lacks).to_owned();
            let command = format!("`{}`", command(&world, &roles, ""));
            assert!(advice.contains(&command), "{advice}");
            let (denied, still_told) = if of_the_listener {
                ("Listener) is unknown, since this role may not read it", "new files into S3_storage")
            } else {
                ("Storage) is unknown, since this role may not read it", "is off")
            };
            for part in [denied, still_told] {
                said.check("crm-settings", "warn", part);
            }
            let new = if of_the_listener {
                "go to S3_storage"
            } else {
                "go is unknown, since this role may not read it"
            };
            said.check("file-contents", "ok", new);
            // Nothing that works needs them.
            said.check("database-rights", "ok", "every right");
            let status = process::run(&world.with(&as_run), &["listener", "status"]).await.expect(0).stdout;
            assert!(status.contains(&format!("{lacks}: {command}")), "{status}");
            let status =
                process::run(&world.with(&as_run), &["listener", "status", "--json"]).await.expect(0).json();
            assert_eq!(
                status["crm"]["own_listener"],
                if of_the_listener { "denied" } else { "off" },
                "{status}"
            );
            assert_eq!(
                status["crm"]["active_storage"]["is"],
                if of_the_listener { "ours" } else { "denied" }
            );
            assert_eq!(status["crm"]["denied"]["why"], lacks, "{status}");
            roles.sql(&format!("GRANT {of} TO {}", roles.run)).await;
        }
        drop(roles);
    })
    .await;
}

#[tokio::test]
async fn the_command_that_is_named_grants_what_is_missing_and_no_right_to_delete() {
    bare_world(S3::Embedded, async |world| {
        let roles = Roles::installed(&world).await;
        let run = &roles.run;
        // As after an update of file-recycler: the rights are those of before.
        roles.sql(&format!("DROP OWNED BY {run}")).await;
        roles.allow_run(&[("dangling_rows", "leave")]).await;
        let settings = ["Feature", "AdminUnitFeatureState", "SysSettings", "SysSettingsValue"];
        for table in settings {
            roles
                .sql(&format!(
                    r#"REVOKE SELECT ON "{table}" FROM {run}; GRANT SELECT ("Id") ON "{table}" TO {run}"#
                ))
                .await;
        }
        let as_run = [("DATABASE__URL", &roles.url_as(run)[..]), ("CRM__DANGLING_ROWS", "leave")];
        let said = doctor(&world, &as_run).await;
        let command = command(&world, &roles, "-v dangling_rows=leave ");
        let advice =
            said.check("crm-settings", "warn", r#"SELECT ("Code", "DefaultState") on public."Feature""#);
        assert_eq!(advice, format!("`{command}` grants it"));

        let url: url::Url = world.crm.url.parse().unwrap();
        let applied = Command::new("sh")
            .args(["-c", &command])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("PGHOST", url.host_str().unwrap())
            .env("PGPORT", url.port().unwrap_or(5432).to_string())
            .env("PGUSER", url.username())
            .env("PGPASSWORD", url.password().unwrap_or_default())
            .output()
            .await
            .unwrap();
        assert!(applied.status.success(), "{applied:?}");

        let said = doctor(&world, &as_run).await;
        said.check("crm-settings", "ok", "is off");
        said.check("crm-settings", "ok", "new files into S3_storage");
        let deletes = |grant: &&crate::support::roles::Grant| {
            grant.privilege == "DELETE" && !grant.object.starts_with("file_recycler.")
        };
        let grants = roles.grants(run).await;
        assert_eq!(grants.iter().filter(deletes).count(), 0, "{grants:?}");
        drop(roles);
    })
    .await;
}

/// What an administrator is told to type.
fn command(world: &World, roles: &Roles, leave: &str) -> String {
    format!("psql -v run_role={} {leave}-f deploy/rights/database-run.sql {}", roles.run, world.crm.name)
}
