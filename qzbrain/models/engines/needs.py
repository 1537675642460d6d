"""placeholder until merged"""
