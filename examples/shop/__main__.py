"""`python -m observe.examples.shop`: what `observe demo` starts."""

from observe.examples.shop.run import main

if __name__ == "__main__":
    main()
