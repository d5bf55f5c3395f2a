import json
from tests.clients.test_rclone import rclone
from tests.clients.test_obstore_pyarrow import arrow
from tests.clients.names import *
from tests.clients.content import *
def test_tmp(rclone, arrow, s3, bucket):
    r=rclone("copyto", f"h:{bucket}/absent", "x", fails=False) if 0 else None
    import subprocess
    p=subprocess.run([*rclone.argv,"copyto",f"h:{bucket}/absent","x"],env=rclone.env,cwd=rclone.home,capture_output=True); print("COPYTO",p.returncode,p.stderr)
    p=subprocess.run([*rclone.argv,"cat",f"h:{bucket}/absent"],env=rclone.env,cwd=rclone.home,capture_output=True); print("CAT",p.returncode,p.stderr)
    p=subprocess.run([*rclone.argv,"lsf",f"h:{bucket}-nope"],env=rclone.env,cwd=rclone.home,capture_output=True); print("LSF",p.returncode,p.stderr)
    with arrow.open_output_stream(f"{bucket}/body", metadata={"Content-Type": "x/y"}) as stream: stream.write(b"x")
    with arrow.open_input_stream(f"{bucket}/body") as stream: print("META", stream.metadata())
    print(s3.head_object(Bucket=bucket,Key="body")["ContentType"])
    keys = sayable("rclone")
    put_all(s3, bucket, {key: key.encode() for key in keys})
    listed = json.loads(rclone("lsjson", "--recursive", "--files-only", f"h:{bucket}").stdout)
    got={i["Path"] for i in listed}
    print("RCL", got-set(keys), set(keys)-got)
    found = arrow.get_file_info(pyarrow.fs.FileSelector(bucket, recursive=True))
    listed = {item.path.removeprefix(f"{bucket}/") for item in found if item.type == pyarrow.fs.FileType.File}
    keys=set(sayable("pyarrow"))
    print("ARR", listed-keys, keys-listed)
    assert 0
import pyarrow.fs
