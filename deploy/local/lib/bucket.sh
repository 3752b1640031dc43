# shellcheck shell=bash
# Buckets by curl alone, so that what the demo checks does not rest on our own code.
# $S3_CURL is a curl configuration with the keys, $S3_URL the server.

# bucket_access FILE URL ACCESS_KEY SECRET_KEY: the keys go into a file, never onto a command line.
bucket_access() {
  S3_CURL=$1
  S3_URL=${2%/}
  (umask 077 && printf 'user = "%s:%s"\naws-sigv4 = "aws:amz:us-east-1:s3"\nheader = "%s"\nsilent\nshow-error\nfail-with-body\n' \
    "$3" "$4" "$S3_UNSIGNED" >"$S3_CURL")
}

# bucket_request METHOD PATH [CURL ARGUMENT…]
bucket_request() {
  local method=$1 path=$2
  shift 2
  curl --config "$S3_CURL" --max-time 60 --request "$method" "$@" "$S3_URL/$path"
}

bucket_create() { bucket_request PUT "$1" --data '' >/dev/null; }

# bucket_upload BUCKET FOLDER: every file of the folder, under its name, with one curl.
bucket_upload() {
  local bucket=$1 folder=$2 file
  for file in "$folder"/*; do
    printf 'upload-file = "%s"\nurl = "%s/%s/%s"\n' "$file" "$S3_URL" "$bucket" "${file##*/}"
  done >"$S3_CURL.upload"
  curl --config "$S3_CURL" --no-progress-meter --parallel --parallel-max 16 --config "$S3_CURL.upload" >/dev/null
  rm -f "$S3_CURL.upload"
}

# bucket_remove_all BUCKET: every object, then the bucket.
bucket_remove_all() {
  local bucket=$1 key
  while read -r key; do printf 'url = "%s/%s/%s"\n' "$S3_URL" "$bucket" "$key"; done \
    < <(bucket_pages "$bucket" | cut -f1) >"$S3_CURL.delete"
  if [ -s "$S3_CURL.delete" ]; then
    curl --config "$S3_CURL" --request DELETE --no-progress-meter --parallel --parallel-max 16 --config "$S3_CURL.delete" >/dev/null
  fi
  rm -f "$S3_CURL.delete"
  bucket_request DELETE "$bucket" >/dev/null
}

# bucket_list BUCKET: lines of key, ETag and size, sorted; file-recycler's own objects left out.
bucket_list() { bucket_pages "$1" | grep -v '^\.file-recycler/' | LC_ALL=C sort || true; }

bucket_pages() {
  local bucket=$1 query=list-type=2 page token
  while :; do
    page=$(bucket_request GET "$bucket?$query") || return 1
    perl -0777 -ne 'while (m{<Contents>(.*?)</Contents>}sg) {
        my $entry = $1;
        my ($key, $etag, $size) = map { $entry =~ m{<$_>(.*?)</$_>}s ? $1 : "" } qw(Key ETag Size);
        $etag =~ s/&quot;|&#34;|"//g;
        print "$key\t$etag\t$size\n" }' <<<"$page"
    token=$(perl -0777 -ne 'print $1 if m{<NextContinuationToken>(.*?)</NextContinuationToken>}s' <<<"$page")
    [ -n "$token" ] || return 0
    # The parameters in alphabetical order: older curls sign them as they stand.
    query="continuation-token=$(perl -e '($_) = @ARGV; s/([^A-Za-z0-9._~-])/sprintf "%%%02X", ord $1/ge; print' "$token")&list-type=2"
  done
}
