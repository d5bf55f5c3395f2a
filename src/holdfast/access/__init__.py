"""Who may do what: policies, access control lists and identities, judged before a request reaches the store.

Decisions are pure functions over frozen values; what a decision needs of the index is fetched by `guard` alone.
"""
