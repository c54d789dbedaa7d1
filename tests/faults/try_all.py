import sys, io, contextlib, os, shlex, traceback, time, shutil
sys.path[:0]=["tests/faults","tests","."]
from pathlib import Path
import conftest as c
p=Path("/tmp/faults_try")
if len(sys.argv)>1 or not p.exists():
    shutil.rmtree(p, ignore_errors=True); p.mkdir(); p.chmod(0o755); t=time.time(); c.fill(p); print("fill",time.time()-t)
from helpers import kd_trainer
import warnings
os.chdir(p)
rows=[l.strip() for l in open("/work/wt/err/tests/faults/rows.txt") if l.strip()]
for y in sorted(p.glob("*_*.yaml"))+[p/n for n in ("invalid.yaml","binary.yaml","empty.yaml","folder.yaml","itself.yaml","deep.yaml","mem.yaml","unknown.yaml")]:
    if not y.name.startswith("study_"):
        rows.append(f"pair --student {y.name} -o out")
cachev=c.CACHE
for name in ("malicious.pt","short.pt","empty.pt","out","mem.yaml"):
    rows.append(cachev.replace("ParT.pt",name)+" --output out")
for name in ("header.parquet","value.parquet","text.parquet","value.root","short.h5","value.h5","label_text.parquet"):
    rows.append(cachev.replace("jets.parquet",name)+" --output out")
times=[]
import re
for r in rows:
    if len(sys.argv)>2 and not re.search(sys.argv[2], r): continue
    t=time.time()
    line=r.replace("CACHE ",cachev+" ")
    try:
        x=kd_trainer(*shlex.split(line.replace("(8,)","'(8,)'")),check=False)
        err=[s for s in re.split("[\r\n]+",x.stderr) if s and not re.search(r"\d+%\||\d+(it|jet)s? \[|\?(it|jet|file)/s",s)]
        ok="ok " if x.returncode==1 and len(err)==1 else "?? "
        msg=f"rc {x.returncode} {err}" if ok=="?? " else err[0]
    except SystemExit as e: ok,msg="?? ",f"exit {e}"
    except BaseException as e:
        ok,msg="XX ",f"{type(e).__name__} {str(e)[:200]!r} "+str(traceback.extract_tb(e.__traceback__)[-1])
        fr=[f for f in traceback.extract_tb(e.__traceback__) if "/kd_trainer/" in f.filename][-1]; msg+=f" | {fr.filename[-40:]}:{fr.lineno}"
    left=[str(q) for q in (p/"out").rglob("*") if q.is_file()] if (p/"out").is_dir() else ["NO out"]
    dt=time.time()-t
    print(ok, f"{dt:.2f}", r[:110],"\n        ->",msg[:330], "LEFT" if left else "", left or "", flush=True)
    shutil.rmtree(p/"out",ignore_errors=True); (p/"out").mkdir()
    shutil.rmtree(p/"good",ignore_errors=True)
