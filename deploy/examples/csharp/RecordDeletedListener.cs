// Creatio: tells file-recycler that a record was deleted, over HTTP.
//
// This project's tests compile and run it beside a stand-in for the CRM's own assemblies (Terrasoft.Core,
// Terrasoft.Core.Entities), which are not public. Compile it in a package of your own, and try it on a test stand.
//
// On PostgreSQL you do not need it: the triggers of `file-recycler listener install` see every deletion, also those by
// SQL, and never one that was rolled back. It is for a CRM on another database, where `OnDeleted` is the best there is:
//   - it runs for deletions by the entity layer only, not for those by SQL or by the database's own cascades;
//   - it runs before the transaction is committed. A deletion that is rolled back afterwards has been announced. On
//     PostgreSQL the worker asks the database and leaves living files alone; where it cannot ask
//     (crm.profile = "events"), the producer must not announce what may be rolled back;
//   - what is announced here is lost when this process ends before it is accepted. Where that is not good enough,
//     write the event into a table of your own in the same transaction, and post it from there.
//
// The user's deletion does not depend on it: nothing here waits or throws. What could not be announced is an error in the
// log of this name, "FileRecycler", with the event: post it by hand when the cause is gone (docs/events.md). So is a schema
// of files that could not be read: with crm.profile = "events" what an event does not name is never recycled.
//
// System settings to create: FileRecyclerUrl (text, "http://file-recycler:8077") and FileRecyclerToken (secure text).

using System;
using System.Collections.Generic;
using System.Globalization;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Runtime.CompilerServices;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Newtonsoft.Json;
using Terrasoft.Common;
using Terrasoft.Core;
using Terrasoft.Core.Configuration;
using Terrasoft.Core.Entities;
using Terrasoft.Core.Entities.Events;

namespace FileRecycler.Example
{
    // One attribute for each section whose records have files.
    [EntityEventListener(SchemaName = "Contact")]
    [EntityEventListener(SchemaName = "Account")]
    public class RecordDeletedListener : BaseEntityEventListener
    {
        private const int MaxFiles = 1000;
        private static readonly TimeSpan GiveUpAfter = TimeSpan.FromMinutes(5);

        // One client for the whole process: it keeps its connections.
        private static readonly HttpClient Client = new HttpClient { Timeout = TimeSpan.FromSeconds(15) };

        // So many events may wait for their answer: what bounds the memory while nobody answers. Beyond that they are
        // logged; to wait for a place would hold the user's transaction open.
        private static readonly SemaphoreSlim Places = new SemaphoreSlim(1000);

        // The files' rows are gone in OnDeleted, so their ids are read before. They are kept with the entity that is being
        // deleted: whether one listener serves all deletions or each event has its own, and no longer than a deletion
        // that fails in between.
        private static readonly ConditionalWeakTable<Entity, List<DeletedFile>> Files =
            new ConditionalWeakTable<Entity, List<DeletedFile>>();

        private sealed class DeletedFile
        {
            public Guid Id;
            public string Schema;
        }

        public override void OnDeleting(object sender, EntityBeforeEventArgs e)
        {
            base.OnDeleting(sender, e);
            var entity = (Entity)sender;
            Files.Remove(entity);
            Files.Add(entity, FilesOf(entity));
        }

        public override void OnDeleted(object sender, EntityAfterEventArgs e)
        {
            base.OnDeleted(sender, e);
            var entity = (Entity)sender;
            try
            {
                Files.TryGetValue(entity, out List<DeletedFile> files);
                Files.Remove(entity);
                Announce(entity, files ?? new List<DeletedFile>());
            }
            catch (Exception error)
            {
                // The deletion must not depend on us.
                Log("A deletion could not be announced: " + error.Message, entity);
            }
        }

        private static void Announce(Entity entity, List<DeletedFile> files)
        {
            string url = SysSettings.GetValue(entity.UserConnection, "FileRecyclerUrl", string.Empty);
            string token = SysSettings.GetValue(entity.UserConnection, "FileRecyclerToken", string.Empty);
            // A record with more than 1,000 files is several events; one without files is one, since files may hang
            // on it that only the database knows.
            for (int from = 0; from == 0 || from < files.Count; from += MaxFiles)
            {
                List<DeletedFile> some = files.GetRange(from, Math.Min(MaxFiles, files.Count - from));
                string body = RecordDeleted(entity.SchemaName, entity.PrimaryColumnValue, some);
                if (!Places.Wait(0))
                {
                    NotAnnounced("too many wait for their answer already", body);
                    continue;
                }
                // Not in the user's thread: the deletion must not depend on us.
                Task.Run(() => PostAsync(url, token, body));
            }
        }

        // Files of classic pages are in a schema of the section's own, those of modern pages in one for all sections.
        private static List<DeletedFile> FilesOf(Entity record)
        {
            string schema = record.SchemaName;
            var files = new List<DeletedFile>();
            Select(files, record, schema + "File", new Dictionary<string, object>
            {
                { schema, record.PrimaryColumnValue }
            });
            Select(files, record, "SysFile", new Dictionary<string, object>
            {
                { "RecordSchemaName", schema },
                { "RecordId", record.PrimaryColumnValue }
            });
            return files;
        }

        private static void Select(
            List<DeletedFile> files, Entity record, string fileSchema, Dictionary<string, object> columns)
        {
            try
            {
                if (record.UserConnection.EntitySchemaManager.FindInstanceByName(fileSchema) == null)
                {
                    return;
                }
                var query = new EntitySchemaQuery(record.UserConnection.EntitySchemaManager, fileSchema);
                query.UseAdminRights = false;
                EntitySchemaQueryColumn id = query.AddColumn("Id");
                foreach (KeyValuePair<string, object> column in columns)
                {
                    query.Filters.Add(query.CreateFilterWithParameters(
                        FilterComparisonType.Equal, column.Key, column.Value));
                }
                foreach (Entity file in query.GetEntityCollection(record.UserConnection))
                {
                    files.Add(new DeletedFile { Id = file.GetTypedColumnValue<Guid>(id.Name), Schema = fileSchema });
                }
            }
            catch (Exception error)
            {
                // The deletion must not depend on us; it is announced without these files.
                Log("Files in " + fileSchema + " could not be read, and are not announced: " + error.Message, record);
            }
        }

        // No names of people, records or files: they have no business in the broker.
        private static string RecordDeleted(string schema, Guid record, List<DeletedFile> files)
        {
            return JsonConvert.SerializeObject(new
            {
                specversion = "1.0",
                id = Guid.NewGuid(),
                source = "/crm/creatio",
                type = "crm.record.deleted.v1",
                // The user's language has a calendar and a separator of its own.
                time = DateTime.UtcNow.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture),
                data = new
                {
                    schema,
                    record_id = record,
                    files = files.ConvertAll(file => new { file_id = file.Id, schema = file.Schema })
                }
            });
        }

        private static async Task PostAsync(string url, string token, string body)
        {
            try
            {
                string problem = await PostUntilAcceptedAsync(url, token, body).ConfigureAwait(false);
                if (problem != null)
                {
                    NotAnnounced(problem, body);
                }
            }
            catch (Exception error)
            {
                // An address that is none, a token that no header can carry, or the end of this process. Its message may
                // repeat the token.
                NotAnnounced(error.GetType().Name + " (are FileRecyclerUrl and FileRecyclerToken right?)", body);
            }
            finally
            {
                Places.Release();
            }
        }

        // What is wrong where it was not accepted; null where it was.
        private static async Task<string> PostUntilAcceptedAsync(string url, string token, string body)
        {
            DateTime deadline = DateTime.UtcNow + GiveUpAfter;
            while (true)
            {
                TimeSpan pause = TimeSpan.FromSeconds(5);
                string problem;
                try
                {
                    using (var request = new HttpRequestMessage(HttpMethod.Post, url.TrimEnd('/') + "/v1/events"))
                    {
                        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
                        request.Content = new StringContent(body, Encoding.UTF8, "application/json");
                        using (HttpResponseMessage answer = await Client.SendAsync(request).ConfigureAwait(false))
                        {
                            int status = (int)answer.StatusCode;
                            if (status == 202)
                            {
                                return null;
                            }
                            string told = await answer.Content.ReadAsStringAsync().ConfigureAwait(false);
                            problem = status + ": " + told;
                            if (status != 408 && status != 503)
                            {
                                // It stays wrong: trying again is of no use.
                                return "refused with " + problem;
                            }
                            pause = answer.Headers.RetryAfter?.Delta ?? pause;
                        }
                    }
                }
                catch (Exception error) when (error is HttpRequestException || error is TaskCanceledException)
                {
                    // Nobody listens, or the answer was lost. Posting the same event again does no harm.
                    problem = error.Message;
                }
                if (DateTime.UtcNow + pause > deadline)
                {
                    return "not accepted: " + problem;
                }
                await Task.Delay(pause).ConfigureAwait(false);
            }
        }

        private static void NotAnnounced(string problem, string body)
        {
            Log("A deletion could not be announced: " + problem + "; to be posted by hand: " + body);
        }

        private static void Log(string problem, Entity record)
        {
            Log(problem + "; the record: " + record.SchemaName + " " + record.PrimaryColumnValue);
        }

        private static void Log(string problem)
        {
            global::Common.Logging.LogManager.GetLogger("FileRecycler").Error(problem);
        }
    }
}
