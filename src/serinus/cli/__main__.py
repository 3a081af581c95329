from serinus.cli import main

main()
