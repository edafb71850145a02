import sys

from menon.cli import main

sys.exit(main())
