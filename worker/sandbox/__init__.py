"""A stand-in over HTTP for CometChat's Management API: its webhook operations, with faults.

`python -m worker.sandbox` runs it, and `running_sandbox` does so for a block of code;
`SandboxControl` tells a running one what to do and asks it what it saw. The rules of faults are
described in `worker.sandbox.faults`; `mixed_faults` is a ready set of them.
"""

from worker.sandbox.control import SandboxControl
from worker.sandbox.mixed import mixed_faults
from worker.sandbox.process import RunningSandbox, running_sandbox

__all__ = ["RunningSandbox", "SandboxControl", "mixed_faults", "running_sandbox"]
