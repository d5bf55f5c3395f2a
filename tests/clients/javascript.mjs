// The AWS SDK for JavaScript against a gateway: one scene after the other, and what each saw, as one JSON object on standard output.
//
// Arguments come in the environment: ENDPOINT, ACCESS_KEY, SECRET_KEY, REGION, BUCKET. It judges nothing: test_javascript.py does.
// A scene that fails says so in place of what it saw, and the others go on.

import { createHash, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import {
  AbortMultipartUploadCommand, CompleteMultipartUploadCommand, CopyObjectCommand, CreateBucketCommand, CreateMultipartUploadCommand,
  DeleteBucketCommand, DeleteObjectCommand, DeleteObjectsCommand, GetBucketCorsCommand, GetBucketLocationCommand,
  GetBucketTaggingCommand, GetBucketWebsiteCommand, GetObjectAttributesCommand, GetObjectCommand, GetObjectTaggingCommand,
  HeadBucketCommand, HeadObjectCommand, ListMultipartUploadsCommand, ListObjectVersionsCommand, ListPartsCommand,
  PutBucketCorsCommand, PutBucketTaggingCommand, PutBucketWebsiteCommand, PutObjectCommand, PutObjectTaggingCommand, S3Client,
  UploadPartCommand, UploadPartCopyCommand, paginateListObjectsV2, waitUntilObjectExists,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { createPresignedPost } from "@aws-sdk/s3-presigned-post";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const { ENDPOINT, ACCESS_KEY, SECRET_KEY, REGION, BUCKET: Bucket } = process.env;
const MIB = 1024 * 1024;
const client = new S3Client({
  endpoint: ENDPOINT, region: REGION, forcePathStyle: true, maxAttempts: 1,
  credentials: { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY },
});
const send = (Command, more) => client.send(new Command({ Bucket, ...more }));
const bytes = async (got) => Buffer.from(await got.Body.transformToByteArray());
const sha256 = (data) => createHash("sha256").update(data).digest("hex");
const refused = async (promise) => {
  try {
    await promise;
    return "ok";
  } catch (error) {
    return [error.name, error.$metadata?.httpStatusCode];
  }
};
const tags = (set) => Object.fromEntries(set.map(({ Key, Value }) => [Key, Value]));

async function* pieces(data, size) {
  for (let at = 0; at < data.length; at += size) yield data.subarray(at, at + size);
}

const scenes = {
  async bucket() {
    await send(CreateBucketCommand);
    const location = await send(GetBucketLocationCommand);
    return { head: (await send(HeadBucketCommand)).BucketRegion, location: location.LocationConstraint ?? "" };
  },

  async object() {
    const Body = randomBytes(70_000);
    const put = await send(PutObjectCommand, { Key: "dir/ü +%.bin", Body, Metadata: { Colour: "red" }, ContentType: "text/x-test" });
    const got = await send(GetObjectCommand, { Key: "dir/ü +%.bin", ChecksumMode: "ENABLED" });
    const part = await send(GetObjectCommand, { Key: "dir/ü +%.bin", Range: "bytes=10-19", ChecksumMode: "ENABLED" });
    const head = await send(HeadObjectCommand, { Key: "dir/ü +%.bin" });
    return {
      same: sha256(await bytes(got)) === sha256(Body), etag: got.ETag === put.ETag && head.ETag === put.ETag, type: got.ContentType,
      metadata: got.Metadata, crc: got.ChecksumCRC32 === put.ChecksumCRC32 && put.ChecksumCRC32 !== undefined, size: head.ContentLength,
      range: [part.ContentRange, (await bytes(part)).equals(Body.subarray(10, 20))],
    };
  },

  async stream() {
    const data = randomBytes(3 * MIB + 11);
    await send(PutObjectCommand, { Key: "stream", Body: Readable.from(pieces(data, 65_536)), ContentLength: data.length });
    const got = await send(GetObjectCommand, { Key: "stream" });
    return { same: sha256(await bytes(got)) === sha256(data) };
  },

  async upload() {
    const data = randomBytes(11 * MIB + 5);
    const upload = new Upload({
      client, params: { Bucket, Key: "large", Body: Readable.from(pieces(data, 100_000)), Tagging: "made=by+parts" }, partSize: 5 * MIB, queueSize: 3,
    });
    const done = await upload.done();
    const got = await send(GetObjectCommand, { Key: "large" });
    const second = await send(HeadObjectCommand, { Key: "large", PartNumber: 2 });
    const told = await send(GetObjectAttributesCommand, { Key: "large", ObjectAttributes: ["ETag", "ObjectParts", "ObjectSize", "StorageClass"] });
    return {
      same: sha256(await bytes(got)) === sha256(data), parts: done.ETag.slice(-3), tagCount: got.TagCount,
      second: [second.ContentLength, second.PartsCount], told: [told.ObjectSize, told.ObjectParts?.TotalPartsCount, told.StorageClass],
    };
  },

  async parts() {
    const { UploadId } = await send(CreateMultipartUploadCommand, { Key: "parts", ChecksumAlgorithm: "CRC32C" });
    const Body = randomBytes(5 * MIB);
    const one = await send(UploadPartCommand, { Key: "parts", UploadId, PartNumber: 1, Body, ChecksumAlgorithm: "CRC32C" });
    const two = await send(UploadPartCopyCommand, { Key: "parts", UploadId, PartNumber: 2, CopySource: `${Bucket}/large`, CopySourceRange: "bytes=0-99" });
    const listed = await send(ListPartsCommand, { Key: "parts", UploadId });
    const going = await send(ListMultipartUploadsCommand);
    const done = await send(CompleteMultipartUploadCommand, {
      Key: "parts", UploadId,
      MultipartUpload: { Parts: [
        { PartNumber: 1, ETag: one.ETag, ChecksumCRC32C: one.ChecksumCRC32C },
        { PartNumber: 2, ETag: two.CopyPartResult.ETag, ChecksumCRC32C: two.CopyPartResult.ChecksumCRC32C },
      ] },
    });
    const other = await send(CreateMultipartUploadCommand, { Key: "aborted" });
    await send(AbortMultipartUploadCommand, { Key: "aborted", UploadId: other.UploadId });
    return {
      sizes: listed.Parts.map((part) => part.Size), going: going.Uploads.map((upload) => upload.Key),
      checksum: /-2$/.test(done.ChecksumCRC32C), size: (await send(HeadObjectCommand, { Key: "parts" })).ContentLength,
      aborted: await refused(send(ListPartsCommand, { Key: "aborted", UploadId: other.UploadId })),
    };
  },

  async list() {
    for (const Key of ["l/a b", "l/a/x", "l/a/y", "l/z", "l/é"]) await send(PutObjectCommand, { Key, Body: "x" });
    const keys = [];
    for await (const page of paginateListObjectsV2({ client, pageSize: 2 }, { Bucket, Prefix: "l/" })) {
      keys.push(...page.Contents.map((item) => item.Key));
    }
    const rolled = [];
    for await (const page of paginateListObjectsV2({ client, pageSize: 1 }, { Bucket, Prefix: "l/", Delimiter: "/" })) {
      rolled.push(...(page.Contents ?? []).map((item) => item.Key), ...(page.CommonPrefixes ?? []).map((item) => item.Prefix));
    }
    const versions = await send(ListObjectVersionsCommand, { Prefix: "l/" });
    return { keys, rolled, versions: versions.Versions.map((one) => [one.Key, one.VersionId, one.IsLatest]) };
  },

  async conditions() {
    const { ETag } = await send(PutObjectCommand, { Key: "c", Body: "1" });
    return {
      absent: await refused(send(PutObjectCommand, { Key: "c", Body: "2", IfNoneMatch: "*" })),
      other: await refused(send(PutObjectCommand, { Key: "c", Body: "2", IfMatch: '"0123"' })),
      match: await refused(send(PutObjectCommand, { Key: "c", Body: "2", IfMatch: ETag })),
      fresh: (await refused(send(GetObjectCommand, { Key: "c", IfNoneMatch: (await send(HeadObjectCommand, { Key: "c" })).ETag })))[1],
      none: await refused(send(GetObjectCommand, { Key: "nothing" })),
      head: await refused(send(HeadObjectCommand, { Key: "nothing" })),
      bucket: await refused(send(GetObjectCommand, { Bucket: `${Bucket}-absent`, Key: "k" })),
      range: await refused(send(GetObjectCommand, { Key: "c", Range: "bytes=9-" })),
    };
  },

  async checksums() {
    const told = {};
    for (const ChecksumAlgorithm of ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]) {
      const name = `Checksum${ChecksumAlgorithm}`;
      const put = await send(PutObjectCommand, { Key: "sum", Body: "checked", ChecksumAlgorithm });
      const got = await send(GetObjectCommand, { Key: "sum", ChecksumMode: "ENABLED" });
      told[ChecksumAlgorithm] = put[name] !== undefined && got[name] === put[name] && (await bytes(got)).toString() === "checked";
    }
    const wrong = await refused(send(PutObjectCommand, { Key: "sum", Body: "checked", ChecksumCRC32: "AAAAAA==" }));
    return { told, wrong };
  },

  async tagging() {
    await send(PutObjectCommand, { Key: "t", Body: "x", Tagging: "a=1&b=two%20words" });
    const first = tags((await send(GetObjectTaggingCommand, { Key: "t" })).TagSet);
    await send(PutObjectTaggingCommand, { Key: "t", Tagging: { TagSet: [{ Key: "c", Value: "3" }] } });
    await send(CopyObjectCommand, { Key: "t2", CopySource: `${Bucket}/t`, TaggingDirective: "REPLACE", Tagging: "d=4" });
    await send(PutBucketTaggingCommand, { Tagging: { TagSet: [{ Key: "of", Value: "bucket" }] } });
    const wrong = { TagSet: [{ Key: "k".repeat(129), Value: "" }] };
    return {
      first, then: tags((await send(GetObjectTaggingCommand, { Key: "t" })).TagSet), copied: tags((await send(GetObjectTaggingCommand, { Key: "t2" })).TagSet),
      bucket: tags((await send(GetBucketTaggingCommand)).TagSet), wrong: await refused(send(PutObjectTaggingCommand, { Key: "t", Tagging: wrong })),
    };
  },

  async documents() {
    const rule = { AllowedOrigins: ["https://app.example"], AllowedMethods: ["GET", "PUT"], AllowedHeaders: ["*"], ExposeHeaders: ["ETag"], MaxAgeSeconds: 9 };
    const none = await refused(send(GetBucketCorsCommand));
    await send(PutBucketCorsCommand, { CORSConfiguration: { CORSRules: [rule] } });
    const asked = { Origin: "https://app.example", "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-amz-date" };
    const preflight = await fetch(`${ENDPOINT}/${Bucket}/k`, { method: "OPTIONS", headers: asked });
    await send(PutBucketWebsiteCommand, { WebsiteConfiguration: { IndexDocument: { Suffix: "index.html" }, ErrorDocument: { Key: "e.html" } } });
    const site = await send(GetBucketWebsiteCommand);
    return {
      none, rules: (await send(GetBucketCorsCommand)).CORSRules, site: [site.IndexDocument.Suffix, site.ErrorDocument.Key],
      preflight: [preflight.status, preflight.headers.get("access-control-allow-methods"), preflight.headers.get("access-control-allow-headers")],
    };
  },

  async presigned() {
    const url = await getSignedUrl(client, new PutObjectCommand({ Bucket, Key: "signed", ContentType: "text/plain" }), { expiresIn: 60 });
    const put = await fetch(url, { method: "PUT", body: "by url", headers: { "Content-Type": "text/plain" } });
    const read = await getSignedUrl(client, new GetObjectCommand({ Bucket, Key: "signed", ResponseContentType: "text/x-other" }), { expiresIn: 60 });
    const got = await fetch(read);
    const { url: action, fields } = await createPresignedPost(client, {
      Bucket, Key: "form/${filename}", Conditions: [["content-length-range", 1, 100], { success_action_status: "201" }],
      Fields: { success_action_status: "201" }, Expires: 60,
    });
    const form = new FormData();
    for (const [name, value] of Object.entries(fields)) form.append(name, value);
    form.append("file", new Blob(["by form"]), "a.txt");
    const posted = await fetch(action, { method: "POST", body: form });
    await waitUntilObjectExists({ client, maxWaitTime: 5, minDelay: 1 }, { Bucket, Key: "form/a.txt" });
    return {
      put: put.status, got: [got.status, got.headers.get("content-type"), await got.text()],
      wrong: (await fetch(read.replace(/Signature=./, "Signature=x"))).status,
      posted: [posted.status, /<Key>(.*)<\/Key>/.exec(await posted.text())?.[1]],
      stored: (await bytes(await send(GetObjectCommand, { Key: "form/a.txt" }))).toString(),
    };
  },

  async remove() {
    const keys = [];
    for await (const page of paginateListObjectsV2({ client }, { Bucket })) keys.push(...page.Contents.map((item) => item.Key));
    const busy = await refused(send(DeleteBucketCommand));
    await send(DeleteObjectCommand, { Key: keys[0] });
    const Objects = keys.map((Key) => ({ Key }));
    const loud = await send(DeleteObjectsCommand, { Delete: { Objects } });
    const quiet = await send(DeleteObjectsCommand, { Delete: { Objects, Quiet: true } });
    await send(DeleteBucketCommand);
    return { busy, deleted: loud.Deleted.length === keys.length, quiet: quiet.Deleted ?? [], gone: await refused(send(HeadBucketCommand)) };
  },
};

const seen = {};
for (const [name, scene] of Object.entries(scenes)) {
  try {
    seen[name] = await scene();
  } catch (error) {
    seen[name] = `${error.name}: ${error.message} ${error.stack}`;
  }
}
process.stdout.write(JSON.stringify(seen));
