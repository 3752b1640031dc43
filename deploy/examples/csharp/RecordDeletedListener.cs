// Creatio: tells file-recycler that a record was deleted, over HTTP.
//
// This file is not compiled or run by this project's tests: it needs the CRM's own assemblies (Terrasoft.Core,
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
// System settings to create: FileRecyclerUrl (text, "http://file-recycler:8077") and FileRecyclerToken (secure text).

using System;
using System.Collections.Generic;
using System.Net.Http;
using System.Net.Http.Headers;
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

        // So many deletions may wait for their answer; beyond that, the deleting thread waits for a place.
        private static readonly SemaphoreSlim Places = new SemaphoreSlim(64);

        // The files' rows are gone in OnDeleted, so their ids are read before. One listener serves many deletions.
        private readonly System.Collections.Concurrent.ConcurrentDictionary<Guid, List<Guid>> _files =
            new System.Collections.Concurrent.ConcurrentDictionary<Guid, List<Guid>>();

        public override void OnDeleting(object sender, EntityBeforeEventArgs e)
        {
            base.OnDeleting(sender, e);
            var entity = (Entity)sender;
            _files[entity.PrimaryColumnValue] = FilesOf(entity);
        }

        public override void OnDeleted(object sender, EntityAfterEventArgs e)
        {
            base.OnDeleted(sender, e);
            var entity = (Entity)sender;
            _files.TryRemove(entity.PrimaryColumnValue, out List<Guid> files);
            files = files ?? new List<Guid>();
            string url = SysSettings.GetValue(entity.UserConnection, "FileRecyclerUrl", string.Empty);
            string token = SysSettings.GetValue(entity.UserConnection, "FileRecyclerToken", string.Empty);
            // A record with more than 1,000 files is several events; one without files is one, since files may hang
            // on it that only the database knows.
            for (int from = 0; from == 0 || from < files.Count; from += MaxFiles)
            {
                List<Guid> some = files.GetRange(from, Math.Min(MaxFiles, files.Count - from));
                string body = RecordDeleted(entity.SchemaName, entity.PrimaryColumnValue, some);
                Places.Wait();
                // Not in the user's thread: the deletion must not depend on us.
                Task.Run(() => PostAsync(url, token, body));
            }
        }

        private static List<Guid> FilesOf(Entity record)
        {
            string schema = record.SchemaName;
            var query = new EntitySchemaQuery(record.UserConnection.EntitySchemaManager, schema + "File");
            query.UseAdminRights = false;
            EntitySchemaQueryColumn id = query.AddColumn("Id");
            query.Filters.Add(query.CreateFilterWithParameters(
                FilterComparisonType.Equal, schema, record.PrimaryColumnValue));
            var files = new List<Guid>();
            foreach (Entity file in query.GetEntityCollection(record.UserConnection))
            {
                files.Add(file.GetTypedColumnValue<Guid>(id.Name));
            }
            return files;
        }

        // No names of people, records or files: they have no business in the broker.
        private static string RecordDeleted(string schema, Guid record, List<Guid> files)
        {
            return JsonConvert.SerializeObject(new
            {
                specversion = "1.0",
                id = Guid.NewGuid(),
                source = "/crm/creatio",
                type = "crm.record.deleted.v1",
                time = DateTime.UtcNow.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'"),
                data = new
                {
                    schema,
                    record_id = record,
                    files = files.ConvertAll(file => new { file_id = file, schema = schema + "File" })
                }
            });
        }

        private static async Task PostAsync(string url, string token, string body)
        {
            try
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
                                    return;
                                }
                                string told = await answer.Content.ReadAsStringAsync().ConfigureAwait(false);
                                problem = status + ": " + told;
                                if (status != 408 && status != 503)
                                {
                                    // It stays wrong: trying again is of no use.
                                    Log("refused with " + problem);
                                    return;
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
                        Log("not accepted: " + problem);
                        return;
                    }
                    await Task.Delay(pause).ConfigureAwait(false);
                }
            }
            finally
            {
                Places.Release();
            }
        }

        private static void Log(string problem)
        {
            global::Common.Logging.LogManager.GetLogger("FileRecycler").Error("A deletion could not be announced: " + problem);
        }
    }
}
