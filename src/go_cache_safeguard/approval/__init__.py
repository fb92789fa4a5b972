"""Who may agree to what, and how they prove it.

All pure: `eyes` (who is who, and whether they may), `token` (a secret for one decision, and the digest a person types).
"""
